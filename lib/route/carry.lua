-- carry: accounts of a store that was moved come to this one, before it is made (init.lua), as routes of a lost store do (restore.lua).
-- args: the generation that it will have, the token of the restore; then for each piece: user, kind, name, place of its first item, number
-- of items, items, as carry_read.lua has told them; an entry of a stream: id, number of texts, texts. A piece at place 0 takes the
-- place of what is there, so it does no harm to begin anew.
-- Who owned a job owns none here, and its entry in the streams is a new one; what was copied is known by the ledger. A group comes behind
-- the accounts, and only where this store has all of them; members of others are in none.
-- Groups of an export (../../migrator/admin/regroup.h) come behind all, too: first `regroup`, by which those go that an attempt before has made
-- (PREFIX:restoring:groups), then each as `sharing`: who, ms, why, then each account and where it lives without a record. What is left of
-- another store (restore.lua) is newer, and stays. ok: how many of these are there, and the names of those that are not, since there is another one
-- of that name, or an account is in another, or on its way; nothing: there were none.
-- refused: there; restoring (another restore has begun since).
look_at_store()
if S.id ~= '' then return {'refused', 'there'} end
local RESTORING = prefix .. 'restoring'
if string.match(call('GET', RESTORING) or '', '^%S+') ~= arg(2) then return {'refused', 'restoring'} end
call('SET', RESTORING, arg(2) .. ' ' .. now_text())
S.generation, S.series, S.audit_keep = number(arg(1)), '1', 0
S.small = call('EXISTS', prefix .. 'fingerprints') == 0 -- as init.lua will have it

-- What belongs to the store that it came from.
local LEFT = set_of('owner', 'last_owner', 'given', 'job', 'deadline', 'prepared', 'counted', 'counted_wave', 'listed', 'parked', 'generation',
                    'died', 'died_late', 'group', 'gather', 'gate', 'voice', 'voice_view', 'voice_proof')

local function route_in(user, from, to)
    local set, r = {}, look(user)
    for i = from, to - 1, 2 do
        if not LEFT[arg(i)] then set[arg(i)] = arg(i + 1) end
    end
    local parked, entry = false, nil
    for i = from, to - 1, 2 do parked = parked or (arg(i) == 'parked' and arg(i + 1) ~= '') end
    local queued = UNDER_WAY[set.state]
    if queued then set.state = 'queued' end
    change(r, set)
    if queued and parked then
        park(r)
    elseif queued then
        entry = push(r, r.bulk == '1')
        change(r, entry)
    elseif r.state == 'backoff' then
        call('ZADD', LATER, r.next_try, user)
    end
end

local function pairs_in(name, from, to, at)
    if at == 0 then call('DEL', name) end
    for i = from, to - 1, 2 do call('HSET', name, arg(i), arg(i + 1)) end
end

local function list_in(name, from, to, at)
    if at == 0 then call('DEL', name) end
    if call('LLEN', name) ~= at then return end
    for i = from, to do call('RPUSH', name, arg(i)) end
end

local function stream_in(name, from, to, at, ends)
    if at == 0 then call('DEL', name) end
    local i = from
    while i < to do
        local last = i + 1 + number(arg(i + 1))
        local fields = {}
        for k = i + 2, math.min(last, to) do fields[#fields + 1] = arg(k) end
        if #fields > 0 then redis.pcall('XADD', name, arg(i), unpack(fields)) end
        i = last + 1
    end
    if number(ends) > 0 then call('PEXPIREAT', name, ends) end
end

local function marks_in(user, from, to)
    local marks = {}
    for i = from, to do marks[#marks + 1] = arg(i) end
    marks_drop(user)
    marks_put(user, marks)
end

local function packed_in(user, value, ends)
    call('SET', key('packed', user), value)
    if number(ends) > 0 then call('PEXPIREAT', key('packed', user), ends) end
end

local function waves_in(from, to)
    for i = from, to - 1, 2 do
        local of_day = string.match(arg(i), ':day$') or string.match(arg(i), ':today$') -- counted by each store
        if not of_day then call('HSET', WAVES, arg(i), arg(i + 1)) end
    end
end

local function group_in(name, from, to)
    pairs_in(group_key(name), from, to, 0)
    call('SADD', SHARING, name)
    shut_out()
    for _, user in ipairs(group_members(name)) do
        if call('EXISTS', key('route', user)) == 1 then call('HSET', key('route', user), 'group', name) end
    end
end

local REGROUPED, made, unmade = RESTORING .. ':groups', 0, {}
local function regroup()
    for _, name in ipairs(call('SMEMBERS', REGROUPED)) do
        for _, user in ipairs(group_members(name)) do
            if call('HGET', key('route', user), 'group') == name then call('HDEL', key('route', user), 'group') end
        end
        call('DEL', group_key(name))
        call('SREM', SHARING, name)
    end
    call('DEL', REGROUPED)
    shut_out()
end

local function is_free(name, members)
    for _, r in ipairs(members) do
        if r.group ~= '' or UNDER_WAY[r.state] then return false end
    end
    return #members > 1 and call('EXISTS', group_key(name)) == 0
end

local function sharing_in(name, from, to)
    local members, names = {}, {}
    for i = from + 3, to - 1, 2 do
        local r = look(arg(i), arg(i + 1))
        members[#members + 1], names[#names + 1] = r, r.user
    end
    if call('HGET', group_key(name), 'members') == table.concat(names, ' ') then
        made = made + 1
        return
    elseif not is_free(name, members) then
        unmade[#unmade + 1] = name
        return
    end
    for _, r in ipairs(members) do change(r, {group = name}) end
    call('HSET', group_key(name), 'members', table.concat(names, ' '), 'who', arg(from), 'at', arg(from + 1), 'why', arg(from + 2), 'rev', '1')
    call('SADD', SHARING, name)
    call('SADD', REGROUPED, name)
    shut_out()
    made = made + 1
end

-- By Redis' own clock: another server's may differ.
local function late_in(user, at, daily) late_put(user, math.max(0, number(at) - now()), daily == '1') end

local function secret_in(user, value, ends)
    if number(ends) > now() then call('SET', key('secret', user), value, 'PX', text(number(ends) - now())) end
end

local function take(user, kind, name, at, from, to)
    if kind == 'route' then route_in(user, from, to)
    elseif kind == 'views' or kind == 'waivers' or kind == 'stamps' then pairs_in(key(kind, user), from, to, at)
    elseif kind == 'ledger' then list_in(key('ledger', user) .. ':' .. name, from, to, at)
    elseif kind == 'folded' or kind == 'report' then call('SET', key(kind, user), arg(from))
    elseif kind == 'secret' then secret_in(user, arg(from), name)
    elseif kind == 'packed' then packed_in(user, arg(from), name)
    elseif kind == 'audit' or kind == 'arrivals' then stream_in(prefix .. kind .. ':' .. user, from, to, at, name)
    elseif kind == 'marks' then marks_in(user, from, to)
    elseif kind == 'late' then late_in(user, arg(from), arg(from + 1))
    elseif kind == 'hooks' then
        for i = from, to - 1, 2 do call('ZADD', HOOKS, arg(i + 1), arg(i)) end
    elseif kind == 'backends' then pairs_in(prefix .. 'backends', from, to, 1)
    elseif kind == 'group' then group_in(name, from, to)
    elseif kind == 'waves' then waves_in(from, to)
    elseif kind == 'regroup' then regroup()
    elseif kind == 'sharing' then sharing_in(name, from, to)
    end
end

local i = 3
while i + 4 <= nargs() do
    local n = number(arg(i + 4))
    take(arg(i), arg(i + 1), arg(i + 2), number(arg(i + 3)), i + 5, i + 4 + n)
    i = i + 5 + n
end
return (made > 0 or #unmade > 0) and {'ok', text(made), unpack(unmade)} or OK
