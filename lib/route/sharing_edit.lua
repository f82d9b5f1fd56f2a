-- sharing_edit: staff make, change or remove a group of accounts that are switched over as one. args: make, add, remove or drop; its name;
-- who, reason, how many members it may have, then pairs of an account and where it lives without a record.
-- Members that are under way begin anew, since what they found of sharing was judged by the list before; so do those that are blocked
-- since they share.
-- ok: how many members it has now. Repeated, it changes nothing.
-- refused: why, as the end of a sentence that begins with the group.
if not open() then return NOSTORE end
local what, name, who, reason, most = arg(1), arg(2), arg(3), arg(4), number(arg(5))
local members, is_in, homes = group_members(name), {}, {}
local there = call('EXISTS', group_key(name)) == 1
for _, user in ipairs(members) do is_in[user] = true end
local mark = staff_mark(who, reason, table.concat(ARGV, '\n', 7)) -- no unpack(): there may be thousands
if there and call('HGET', group_key(name), 'mark') == what .. '\n' .. mark then return {'ok', text(#members)} end
-- A migrator of a release that knows no groups would switch one of the members over by itself.
local living = (what == 'make' or what == 'add') and call('HGETALL', MIGRATORS) or {}
for i = 1, #living, 2 do
    local term, told = parse_migrator(living[i + 1])
    local alive = told + 3 * term > now()
    if alive and call('HGET', MIGRATORS .. ':groups', living[i]) ~= text(told) then
        return {'refused', "can't be: the migrator " .. living[i] .. ' is of a release that knows no groups'}
    end
end
if what == 'make' and there then return {'refused', 'is there already'} end
if what ~= 'make' and not there then return {'refused', 'is not known'} end
local after, named = {}, {}
for i = 6, nargs() - 1, 2 do
    local user = arg(i)
    if not named[user] then named[user], homes[#homes + 1] = arg(i + 1), user end
end
if what == 'remove' then
    for _, user in ipairs(homes) do
        if not is_in[user] then return {'refused', 'has no member ' .. user} end
    end
end
for _, user in ipairs(members) do
    if what == 'add' or (what == 'remove' and not named[user]) then after[#after + 1] = user end
end
if what == 'make' or what == 'add' then
    for _, user in ipairs(homes) do
        local r = look(user, named[user])
        if r.group ~= '' and r.group ~= name then return {'refused', 'can\'t have ' .. user .. ', which is in the group ' .. r.group} end
        if r.force == '1' then
            return {'refused', 'can\'t have ' .. user .. ', which is to be switched over without a copy'}
        end
        if not is_in[user] then after[#after + 1] = user end
    end
end
local concerned, seen = {}, {}
for _, list in ipairs({members, homes}) do
    for _, user in ipairs(list) do
        if not seen[user] and (what ~= 'drop' or is_in[user]) then
            seen[user], concerned[#concerned + 1] = true, look(user, named[user])
        end
    end
end
for _, r in ipairs(concerned) do
    if may_thaw(r) or r.state == 'flipping' then return {'refused', 'can\'t be changed now: ' .. r.user .. ' is ' .. r.state} end
end
if #after > most and #after > #members then return {'refused', 'would have ' .. text(#after) .. ' members, more than group_max = ' .. text(most)} end
if what ~= 'drop' and #after < 2 then return {'refused', 'would have fewer than two members'} end
local stays = {}
for _, user in ipairs(after) do stays[user] = true end
local UNDER = set_of('copying', 'ready')
for _, r in ipairs(concerned) do
    local shared = r.state == 'blocked' and string.sub(r.reason, 1, 6) == 'shared'
    local set = (UNDER[r.state] or (shared and stays[r.user])) and push(r, r.bulk == '1') or {}
    set.group, set.gather = stays[r.user] and name or '', ''
    if set.state then set.attempts = '0' end
    if r.exists or set.group ~= '' then change(r, set, set.state and 'state' or nil) end
    if r.group == '' then call('HDEL', key('route', r.user), 'group', 'gather', 'gate', 'voice', 'voice_view', 'voice_proof') end
    if (is_in[r.user] or false) ~= (stays[r.user] or false) then
        audit(who, 'group ' .. what, r.user, reason, is_in[r.user] and name or 'none', r.group ~= '' and r.group or 'none')
    end
end
if what == 'drop' then
    call('DEL', group_key(name))
    call('SREM', SHARING, name)
else
    call('SADD', SHARING, name)
    call('HSET', group_key(name), 'members', table.concat(after, ' '), 'who', who, 'at', now_text(), 'why', reason,
         'mark', what .. '\n' .. mark)
    call('HINCRBY', group_key(name), 'rev', '1')
end
shut_out()
return {'ok', text(#after)}
