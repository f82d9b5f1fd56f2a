-- head: what all scripts are made of. Each of them is a function within it (library.sh), so that Redis runs it once, at the
-- first call, and not at every one. KEYS[1] is the prefix of all keys; ARGV[1] the id of the store that the caller means, and
-- what follows are the script's own arguments, given as arg(1), arg(2) ...
-- An answer is a list: a status word, then details. Nothing is written before everything was checked: Redis does not
-- undo what a script wrote before it failed.
local call = redis.call
-- What is global goes through a metatable in a library, at each use: these are locals of the same names.
local string, table, math, tonumber, pairs, ipairs, unpack = string, table, math, tonumber, pairs, ipairs, unpack
local rawget, setmetatable, format, floor = rawget, setmetatable, string.format, math.floor
local OK, NOSTORE = {'ok'}, {'nostore'}

-- ---- the call ----

-- All that is of the call under way, and may be another at the next: begin() sets it anew, so that nothing of a call is left
-- to the one behind it, which may be of another site (several share a Redis by their prefixes). Nothing else in this file is
-- ever written to, but what stamp() keeps.
local KEYS, ARGV
local S -- the store, once open() was called
local site, prefix = false, ''
local STORE, EVENTS, LATER, JOBS, BULK, PROXIES, MIGRATORS, FORGOTTEN, CONTROL, AUDIT, HOOKS, COUNTS, ARRIVALS, LATE, DAILY
local GROUPS, HISTORY, WAVES, SHARING

-- PREFIX:late, PREFIX:late:daily: when the server that an account has left is looked at next: by the first while its set time
-- lasts, by the second afterwards, so that first looks come before daily ones, however many of these are due.
local function name_keys()
    STORE, EVENTS, LATER = prefix .. 'store', prefix .. 'events', prefix .. 'later'
    JOBS, BULK, PROXIES = prefix .. 'jobs', prefix .. 'jobs:bulk', prefix .. 'proxies'
    MIGRATORS, FORGOTTEN = prefix .. 'migrators', prefix .. 'forgotten'
    CONTROL, AUDIT, HOOKS = prefix .. 'control', prefix .. 'audit', prefix .. 'hooks'
    COUNTS, ARRIVALS = prefix .. 'counts', prefix .. 'arrivals'
    LATE, DAILY = prefix .. 'late', prefix .. 'late:daily'
    GROUPS, HISTORY = prefix .. 'groups', prefix .. 'history'
    WAVES, SHARING = prefix .. 'waves', prefix .. 'sharing'
end

-- Names follow from the prefix and from nothing else, so they stand as long as that is the same.
local function begin(keys, argv)
    KEYS, ARGV, S = keys, argv, nil
    if keys[1] == site then return end
    site = false -- an error in between must not leave another site's keys under this name
    prefix = keys[1] .. ':'
    name_keys()
    site = keys[1]
end

local function arg(i) return ARGV[i + 1] or '' end
local function args() return unpack(ARGV, 2) end -- of a script that is always told all of them
local function nargs() return #ARGV - 1 end
local function text(n) return format('%.0f', n) end
local function number(s) return tonumber(s) or 0 end
local function key(kind, user) return prefix .. kind .. ':' .. user end

local function set_of(...)
    local s = {}
    for _, v in ipairs({...}) do s[v] = true end
    return s
end

local FROZEN = set_of('freezing', 'flipping')
local OWNED = set_of('copying', 'ready', 'preparing', 'freezing', 'flipping')
local ENGAGED = set_of('queued', 'copying', 'ready', 'preparing', 'freezing', 'flipping', 'flipped', 'backoff')
local WAITS = set_of('queued', 'copying', 'ready') -- a wait goes on over the passes in between
-- The late watch may look at the server that was left; the last two: the way back, or on, was given up for now.
local WATCHED = set_of('flipped', 'settled', 'held', 'resting', 'backoff', 'blocked')
local UNDER_WAY = set_of('queued', 'copying', 'ready', 'preparing', 'freezing', 'flipping')

-- Milliseconds by Redis' own clock: the only wall clock that a deadline is compared with.
local function now()
    local t = call('TIME')
    return t[1] * 1000 + floor(t[2] / 1000)
end

-- The same as text. Microseconds have no leading zeros.
local function now_text()
    local t = call('TIME')
    return t[1] .. string.sub('00000' .. t[2], -6, -4)
end

-- The store's generation as text, which is what routes carry. What is kept of it is right in every call: a number has one text.
local numbered, numbered_text = 0, '0'
local function stamp()
    if S.generation ~= numbered then numbered, numbered_text = S.generation, text(S.generation) end
    return numbered_text
end

-- ---- events ----

-- The number is gapless; together with the generation it is unique. left: ms to the deadline, 0 = none. registered: of
-- prepare.lua alone. view: the text that the route has now (view_read.lua).
local function event(r, kind)
    local n = call('HINCRBY', STORE, 'events', 1)
    local left = number(r.deadline) > 0 and math.max(1, number(r.deadline) - now()) or 0
    call('XADD', EVENTS, 'MAXLEN', '~', 10000, '*', 'n', text(n), 'user', r.user, 'kind', kind, 'state', r.state,
         'epoch', r.epoch, 'backend', r.backend, 'target', r.target, 'left', text(left), 'generation', stamp(),
         'registered', r.registered or '', 'view', r.view or '')
end

local NOBODY = {user = '', state = 'resting', epoch = '0', backend = '', target = '', deadline = '0'}

-- ---- the store ----

-- quarantine_of, quarantine_from: which generation it is of, and when it began; the version before wrote neither.
local function quarantine(from, length)
    S.quarantine_of, S.quarantine_from, S.quarantine_until = S.generation, from, from + length
    call('HSET', STORE, 'quarantine_of', stamp(), 'quarantine_from', text(from),
         'quarantine_until', text(S.quarantine_until))
end

local function server_run_id() return string.match(call('INFO', 'server'), 'run_id:(%w+)') or '' end

-- Whose replica this server was before it was made the master last: zeros where it always was.
local function server_promoted() return string.match(call('INFO', 'replication'), 'master_replid2:(%w+)') or '' end

-- Another run_id is a restart or a failover. A server that was the master, and is made that again before it has heard of the
-- one in between, finds its own: it was promoted since. '': a store of the version before, which noted none.
local function is_same_server()
    return S.run_id == server_run_id() and (S.promoted == '' or S.promoted == server_promoted())
end

-- Writes may be lost that somebody was told of. The new number is greater than any that another server can have given
-- meanwhile, so that nobody takes what that one said for later, or for the same: it is the time.
local function compare_server()
    if is_same_server() then
        if S.promoted == '' then call('HSET', STORE, 'promoted', server_promoted()) end
        return
    end
    S.run_id, S.generation = server_run_id(), math.max(S.generation + 1, now())
    call('HSET', STORE, 'run_id', S.run_id, 'promoted', server_promoted(), 'generation', stamp())
    quarantine(now(), math.max(S.quarantine, S.longest))
    event(NOBODY, 'generation')
end

local function whole_store()
    local f = call('HMGET', STORE, 'id', 'generation', 'run_id', 'quarantine_until', 'quarantine', 'longest',
                   'quarantine_of', 'quarantine_from', 'series', 'audit_keep', 'promoted')
    return {id = f[1] or '', generation = number(f[2]), run_id = f[3] or '', quarantine_until = number(f[4]),
            quarantine = number(f[5]), longest = number(f[6]), quarantine_of = number(f[7]), quarantine_from = number(f[8]),
            series = f[9] or '', audit_keep = number(f[10]), promoted = f[11] or ''}
end

local function look_at_store() S = whole_store() end

-- Most scripts ask for nothing but id and generation; the first that asks for more reads all of it.
local REST_OF_STORE = {__index = function(s, field)
    setmetatable(s, nil)
    for k, v in pairs(whole_store()) do
        if s[k] == nil then s[k] = v end
    end
    return s[field]
end}

-- False where the store is missing or another one. The scripts of the cut-over look at the server too.
local function open(cutover)
    if cutover then
        look_at_store()
    else
        local f = call('HMGET', STORE, 'id', 'generation')
        S = setmetatable({id = f[1] or '', generation = number(f[2])}, REST_OF_STORE)
    end
    if S.id == '' or S.id ~= ARGV[1] then return false end
    if cutover then compare_server() end
    return true
end

-- Which store of the site it is, of how many, and the id that they share: '1', '1', '' where it is the only one.
local function place_of_store()
    local f = call('HMGET', STORE, 'place', 'stores', 'site')
    return f[1] or '1', f[2] or '1', f[3] or ''
end

local function quarantine_left() return math.max(0, S.quarantine_until - now()) end

-- How long a quarantine has to last for a program that asks for so much, and whether the store says so; when the last one
-- began, and whether it is under way and ends too early for this: who opened it did not know.
local function quarantine_asked(own)
    local longest = math.max(own, S.longest, S.quarantine)
    local began = S.quarantine_of == S.generation and S.quarantine_from or S.quarantine_until - S.quarantine
    local told = longest == S.longest and longest == S.quarantine
    return longest, told, began, quarantine_left() > 0 and S.quarantine_until < began + longest
end

-- What rests for years is kept in forms that a version before can't read, in stores that were made by one that can (init.lua).
local function small()
    if rawget(S, 'small') == nil then S.small = call('HGET', STORE, 'small') == '1' end
    return S.small
end

-- ---- the brake ----

-- PREFIX:control has in `paused`, `paused_by`, `paused_reason` and `paused_at` what staff said of it. A migrator of a release that knows no
-- groups would switch one of a group over by itself, so it has to find the brake on as long as there are any, whenever it comes: then
-- `shut` is 1, and what staff say stands in `brake` and the like, which such a release does not look for.
local SHUT = 'accounts that share mailboxes are in groups, which this release does not know: its migrators take no account, those of the ' ..
             'newer one go on, and the newer imapferryctl alone pauses and resumes them'

local function brake_name() return call('HGET', CONTROL, 'shut') == '1' and 'brake' or 'paused' end

local function brake_read()
    local name = brake_name()
    return call('HMGET', CONTROL, name, name .. '_by', name .. '_reason', name .. '_at')
end

local function brake_put(name, on, who, why, at)
    call('HSET', CONTROL, name, on, name .. '_by', who, name .. '_reason', why, name .. '_at', at)
end

local function paused()
    local f = call('HMGET', CONTROL, 'shut', 'brake', 'paused')
    return f[f[1] == '1' and 2 or 3] == '1'
end

-- For scripts that see to many accounts: one whose record is of another type is nil, and in nobody's way. What is asked about it
-- alone fails.
local function try(command, ...)
    local answer = redis.pcall(command, ...)
    if type(answer) == 'table' and answer.err then return nil end
    return answer
end

-- Once a group was made or dropped; and now and then, since a `resume` of the release before lets go of it.
local function shut_out()
    local any, f = number(try('SCARD', SHARING)) > 0, call('HMGET', CONTROL, 'shut', 'paused')
    local is_shut = f[1] == '1'
    if any == is_shut and (f[2] == '1' or not any) then return end
    local said = brake_read()
    for i, none in ipairs({'0', '', '', '0'}) do said[i] = said[i] or none end
    if any then
        if not is_shut then brake_put('brake', unpack(said)) end
        call('HSET', CONTROL, 'shut', '1')
        brake_put('paused', '1', 'groups', SHUT, now_text())
    else
        brake_put('paused', unpack(said))
        call('HDEL', CONTROL, 'shut', 'brake', 'brake_by', 'brake_reason', 'brake_at')
    end
end

-- ---- waves ----

-- PREFIX:waves has of each wave "NAME:day" and "NAME:today" (how many accounts logins have queued by it on that day), and
-- "NAME:paused", by whom, why and since when. PREFIX:parked names the waves that have accounts in PREFIX:parked:NAME: queued, and
-- without an entry in a stream as long as the wave is paused.
local DAY = 86400000

local function wave_paused(wave) return wave ~= '' and try('HGET', WAVES, wave .. ':paused') == '1' end

-- Takes one of the day's places for an account. told: "NAME AFTER PER_DAY OFFSET", when it begins in ms of this clock, how many
-- accounts a day (0: any number), and by how many ms the site's days begin before ours do. A day never goes back, so proxies that
-- do not agree about the offset count one account twice at no time. Where the record is of another type it is nobody's turn.
local function wave_take(told)
    local wave, after, per_day, offset = string.match(told, '^(%S+) (%d+) (%d+) (-?%d+)$')
    local kept = wave and try('HMGET', WAVES, wave .. ':day', wave .. ':today', wave .. ':paused')
    if not kept or kept[3] == '1' or now() < number(after) then return nil end
    local day = math.max(floor((now() + number(offset)) / DAY), number(kept[1]))
    local today = day == number(kept[1]) and number(kept[2]) or 0
    if number(per_day) > 0 and today >= number(per_day) then return nil end
    call('HSET', WAVES, wave .. ':day', text(day), wave .. ':today', text(today + 1))
    return wave
end

-- ---- routes ----

-- What a route is without these fields.
local PLAIN = {source = '', target = '', owner = '', last_owner = '', prior = '', deadline = '0', reason = '', held_from = '',
               held_reason = '', attempts = '0', next_try = '0', force = '', back = '', now = '', bulk = '', job = '',
               staff = '', view = '', engaged = '0', prepared = '0', waits = '0', pass_at = '0', left = '', given = '',
               died = '', died_late = '', at = '', listed = '', wave = '', parked = '',
               counted_wave = '', touching = '0', late_found = '0', group = '', gather = '', gate = '', voice = ''}
-- ... and what only says how a move went on that is over.
local SPENT = set_of('last_owner', 'prior', 'prepared', 'pass_at', 'job', 'at', 'touch_ms', 'gate', 'voice', 'voice_view', 'voice_proof')

-- A login asks for where an account is, and in which state; a route has forty fields. The first that asks for another one
-- reads all that it does not have yet: what change() wrote meanwhile stands.
local REST_OF_ROUTE = {__index = function(r, field)
    if field == 'exists' then -- it has none of the first ones
        r.exists = call('EXISTS', key('route', r.user)) == 1
        return r.exists
    elseif not rawget(r, 'whole') then
        r.whole = true
        local flat = call('HGETALL', key('route', r.user))
        for i = 1, #flat, 2 do
            if rawget(r, flat[i]) == nil then r[flat[i]] = flat[i + 1] end
        end
    end
    local value = rawget(r, field)
    if value == nil then return PLAIN[field] end
    return value
end}

-- The route as it is; without a record it rests on `home`, the configured source.
local function look(user, home)
    local f = call('HMGET', key('route', user), 'backend', 'state', 'epoch', 'generation', 'login')
    return setmetatable({backend = f[1] or home or '', state = f[2] or 'resting', epoch = f[3] or '0',
                         generation = f[4] or stamp(), login = f[5] or '0', exists = (f[1] or f[2] or f[3] or f[4]) and true or nil,
                         user = user, registered = ''}, REST_OF_ROUTE)
end

-- PREFIX:counts has how many accounts are in each state and on each backend: "state:settled", "backend:new". A route says in
-- `counted` as what it was counted, and in which series, so that nothing is counted twice however often a script is repeated,
-- and what an older version of the scripts changed is put right by the next that knows of it. A recount begins a new series
-- (recount_*.lua). Without a series nothing is counted.
-- They are for people: where they can't be added to they are thrown away, for the next recount, and nobody waits for it.
local function add_to(field, by)
    local sum = redis.pcall('HINCRBY', COUNTS, field, by)
    if type(sum) == 'table' then call('DEL', COUNTS) end
end

-- ... and how many messages and bytes there are, in all of them together, and how many are copied: "sum:messages_done" ...
-- The route's own fields say what was added of it.
local SUMS = {'messages_done', 'messages_total', 'bytes_done', 'bytes_total'}
local function add_up(r, set, before)
    for _, f in ipairs(SUMS) do
        local was, is = before and number(r[f]) or 0, number(set[f] or r[f])
        if was ~= is then add_to('sum:' .. f, text(is - was)) end
    end
end

local function counted_as(r)
    local series, state, backend = string.match(r.counted or '', '^(%S+) (%S+) (.*)$')
    if S.series ~= '' and series == S.series then return state, backend end
end

-- "wave:NAME:STATE" likewise, by `counted_wave`.
local function uncount_wave(r)
    local series, state, wave = string.match(r.counted_wave, '^(%S+) (%S+) (%S+)$')
    if S.series ~= '' and series == S.series then add_to('wave:' .. wave .. ':' .. state, -1) end
end

local function count_wave(r, set)
    local wave = set.wave or r.wave
    local mark = wave ~= '' and table.concat({S.series, set.state or r.state, wave}, ' ') or ''
    if mark == r.counted_wave then return end
    uncount_wave(r)
    if wave ~= '' then add_to('wave:' .. wave .. ':' .. (set.state or r.state), 1) end
    set.counted_wave = mark
end

local function count(r, set)
    if S.series == '' then return end
    local state, backend = counted_as(r)
    add_up(r, set, state)
    count_wave(r, set)
    local mark = table.concat({S.series, set.state or r.state, set.backend or r.backend}, ' ')
    if mark == r.counted then return end
    if state then
        add_to('state:' .. state, -1)
        add_to('backend:' .. backend, -1)
    end
    add_to('state:' .. (set.state or r.state), 1)
    add_to('backend:' .. (set.backend or r.backend), 1)
    set.counted = mark
end

-- PREFIX:in:STATE:WORD has the accounts of a state whose reason begins with this word of the table of reasons, by the time since
-- when: what staff look at, page by page. PREFIX:groups has which of these there may be. Only what is under way, or does not get on,
-- is in there, so a site whose accounts are settled pays nothing for it; what is queued stands in the streams of jobs, and what was
-- switched over in PREFIX:late and late:daily. A route says in `listed` in which one it is, and since when, so that what an older
-- version of the scripts has moved is put right by the next that knows of it, or by a recount.
-- It is for people, too: where it can't be written nobody waits for it.
local LISTED = set_of('copying', 'ready', 'preparing', 'freezing', 'flipping', 'backoff', 'blocked', 'held')
local function group_of(state, reason)
    return LISTED[state] and state .. ':' .. (string.match(reason, '^[%a_]+') or '') or ''
end

local function group_in(user, group, since)
    redis.pcall('ZADD', prefix .. 'in:' .. group, since, user)
    redis.pcall('SADD', GROUPS, group)
end

local function group_out(r)
    local group = string.match(r.listed, '^(%S+) ')
    if group then redis.pcall('ZREM', prefix .. 'in:' .. group, r.user) end
end

local function list_in_group(r, set)
    if not set.state and not set.reason then return end
    local group = group_of(set.state or r.state, set.reason or r.reason)
    if (string.match(r.listed, '^(%S+) ') or '') == group then return end
    group_out(r)
    if group == '' then
        call('HDEL', key('route', r.user), 'listed')
        r.listed = ''
        return
    end
    local since = now_text()
    group_in(r.user, group, since)
    set.listed = group .. ' ' .. since
end

-- Writes fields, stamps the generation, appends the event. The mark of what staff did last goes with the state, and
-- `engaged` (the epoch of the first claim since the account is engaged) with the end of the engagement, and `waits` (since
-- when a copied account waits for its time) with the wait.
local function change(r, set, kind)
    set.generation = stamp()
    if set.state and not set.staff then set.staff = '' end
    if set.state and not ENGAGED[set.state] then set.engaged = '0' end
    if set.state and r.waits ~= '0' and not WAITS[set.state] then set.waits = '0' end
    if set.state and r.gather ~= '' and not WAITS[set.state] then set.gather = '' end
    if not r.exists then
        for _, f in ipairs({'backend', 'state', 'epoch'}) do set[f] = set[f] or r[f] end
    end
    count(r, set)
    list_in_group(r, set)
    local flat = {}
    for k, v in pairs(set) do
        r[k] = v
        flat[#flat + 1], flat[#flat + 2] = k, v
    end
    call('HSET', key('route', r.user), unpack(flat))
    r.exists = true
    if kind then event(r, kind) end
end

-- "SHA256 GENERATION.EPOCH MIGRATOR" stands in two fields: a hash in Redis is a table, of four times the size, from the first value
-- on that is longer than hash-max-listpack-value (64 bytes), and for ever. The version before wrote all into the first field, and
-- shows the hash alone where the second is needed.
local function proof_into(set, proof) set.proof, set.proof_at = string.match(proof, '^(%S*) ?(.*)$') end
local function proof_of(r)
    local proof, at = r.proof or '', r.proof_at or ''
    return (proof == '' or at == '' or string.find(proof, ' ', 1, true)) and proof or proof .. ' ' .. at
end

-- A settled account rests for years, and nearly all of a site are that in the end. So what a field says that would be the same
-- without it is not kept, nor what is spent; and the rest is written anew, since a reason may have made a table of it.
local function settle_down(r)
    local name, kept, proof = key('route', r.user), {}, {}
    local flat = call('HGETALL', name)
    proof_into(proof, proof_of(r))
    for i = 1, #flat, 2 do
        local field = flat[i]
        local value = proof[field] or flat[i + 1]
        if value ~= '' and value ~= PLAIN[field] and not SPENT[field] and field ~= 'proof_at' then
            kept[#kept + 1], kept[#kept + 2] = field, value
        end
    end
    if proof.proof_at ~= '' then kept[#kept + 1], kept[#kept + 2] = 'proof_at', proof.proof_at end
    call('DEL', name)
    call('HSET', name, unpack(kept))
end

-- The server that the account has left by its last flip, '' for none. `source` is that of the next move, once one is wanted.
local function left_server(r)
    if r.left ~= '' then return r.left end
    return r.backend == r.target and r.source or ''
end

-- ms for which the account counts as in use: what busy.lua keeps.
local function busy_left(user) return math.max(0, call('PTTL', key('busy', user))) end

-- ---- groups: accounts that share mailboxes, and so are switched over as one (README.md, "Groups") ----

-- PREFIX:sharing names the groups; PREFIX:sharing:NAME has of each its `members` (account keys, a blank between two), `rev`, which
-- rises with each change of these, and who made it when, and why. A route says in `group` in which it is; all lie in this store.
local function group_key(name) return SHARING .. ':' .. name end

local function group_members(name)
    local members = {}
    for user in string.gmatch(try('HGET', group_key(name), 'members') or '', '%S+') do members[#members + 1] = user end
    return members
end

-- The routes of the other members, as they are.
local function mates(r)
    local all = {}
    for _, user in ipairs(r.group ~= '' and group_members(r.group) or {}) do
        local m = user ~= r.user and look(user) or nil
        if m and m.group == r.group then all[#all + 1] = m end
    end
    return all
end

-- It lives where r goes, and is on no way from there: nobody waits for it.
local function is_there(r, m) return m.backend == r.target and not UNDER_WAY[m.state] and m.state ~= 'backoff' end

-- Copied, or called to be copied once more before all are switched over (gather.lua).
local function at_hand(r, m)
    local same = m.backend == r.backend and m.source == r.source and m.target == r.target
    return same and (m.state == 'ready' or (m.gather == 'go' and (m.state == 'queued' or m.state == 'copying')))
end

-- For people: "bob, carol and 3 more". How each of them is changes while others wait: sharing_read.lua tells it.
local function name_mates(list)
    local names = {}
    for i = 1, math.min(#list, 5) do names[i] = list[i].user end
    local more = #list > 5 and ' and ' .. text(#list - 5) .. ' more' or ''
    return table.concat(names, ', ') .. more
end

-- What r waits for, told without an event.
local function say_waits(r, list)
    local reason = 'group: waits for ' .. name_mates(list)
    if r.reason ~= reason then change(r, {reason = reason}) end
end

local function may_thaw(r) return r.state == 'preparing' or r.state == 'freezing' end
local function thaw_alone(r, reason) change(r, {state = 'ready', deadline = '0', reason = reason}, 'state') end
local function thaw_mates(r, reason)
    for _, m in ipairs(mates(r)) do
        local of_another = string.sub(reason, 1, 7) == 'group: '
        if may_thaw(m) then thaw_alone(m, of_another and reason or 'group: ' .. r.user .. ': ' .. reason) end
    end
end

-- Of one, by anybody and for any reason, thaws all.
local function thaw(r, reason)
    thaw_alone(r, reason)
    thaw_mates(r, reason)
end

-- Who asks for something else is at no gate any more: others would take it through, and its owner goes by the epoch that it knows.
local function leave_gate(r)
    if r.gate == '' then return end
    r.gate = ''
    call('HDEL', key('route', r.user), 'gate')
end

-- r has come to the gate behind this state, and has so many ms for the next one; idle: only while nobody uses it. Answers the members
-- that pass it together, r the first of them, and the longest of their times; or, behind nil, those that r still waits for.
local function gate(r, state, ms, idle)
    if r.group == '' then return {r}, number(ms) end
    local mark = table.concat({r.epoch, state, text(number(ms)), idle and 'idle' or 'used'}, ' ')
    if r.gate ~= mark then
        r.gate = mark
        call('HSET', key('route', r.user), 'gate', mark)
    end
    local all, missing, longest = {r}, {}, number(ms)
    for _, m in ipairs(mates(r)) do
        local epoch, at, own, use = string.match(m.gate, '^(%d+) (%l+) (%d+) (%l+)$')
        local here = epoch == m.epoch and at == state and m.state == state and m.owner ~= '' and m.given ~= m.owner and
            m.target == r.target
        local free = number(m.touching) == 0 and (use == 'used' or busy_left(m.user) == 0)
        if here and free then
            all[#all + 1], longest = m, math.max(longest, number(own))
        elseif not is_there(r, m) then
            missing[#missing + 1] = m
        end
    end
    if idle and busy_left(r.user) > 0 then missing[#missing + 1] = r end
    if #missing > 0 then return nil, missing end
    return all, longest
end

local function late_at(user) return number(call('ZSCORE', LATE, user) or call('ZSCORE', DAILY, user)) end
local function late_is_daily(user) return not call('ZSCORE', LATE, user) and call('ZSCORE', DAILY, user) and true or false end
local function late_drop(user)
    call('ZREM', LATE, user)
    call('ZREM', DAILY, user)
end
local function late_put(user, ms, daily)
    call('ZREM', daily and LATE or DAILY, user)
    call('ZADD', daily and DAILY or LATE, text(now() + ms), user)
end

local function is_late(r) return number(r.deadline) > 0 and now() > number(r.deadline) end

-- The route, of this generation: an older one first thaws, since acknowledgements may be lost or repeated.
local function route(user, home)
    local r = look(user, home)
    if r.generation ~= stamp() and r.exists then
        if may_thaw(r) then thaw(r, 'store: Redis restarted or failed over') else change(r, {}) end
    end
    return r
end

-- For the owner of a job, who gives user, token and epoch as the first arguments. Nil: not theirs any more.
local function job()
    local r = route(arg(1))
    return r, r.exists and r.owner ~= '' and r.owner == arg(2) and r.epoch == arg(3)
end

-- The owner gave the job up by the very call that is now repeated.
local function gave_up(r, state) return r.state == state and r.last_owner == arg(2) and arg(2) ~= '' end

-- Migrators that were gone, and had not given the job away, when it was taken over: "TOKEN/NAME TOKEN/NAME". It stands until
-- the account has come past where that happened (ready.lua, flipped.lua), or until staff say so.
local function died_of(r) return select(2, string.gsub(r.died, '%S+', '')) end
-- The one before included, should the job be taken over now.
local function died_with(r)
    return died_of(r) + (OWNED[r.state] and r.owner ~= '' and r.given ~= r.owner and 1 or 0)
end
local function without(died, token)
    local kept = {}
    for word in string.gmatch(died, '%S+') do
        if string.sub(word, 1, #token) ~= token then kept[#kept + 1] = word end
    end
    return table.concat(kept, ' ')
end

-- Leaves those that wait for the end of their wave's pause.
local function unpark(user)
    local all = prefix .. 'parked'
    for _, wave in ipairs(call('SMEMBERS', all)) do
        call('ZREM', all .. ':' .. wave, user)
        if call('EXISTS', all .. ':' .. wave) == 0 then call('SREM', all, wave) end
    end
end

-- The field `parked`, which only those have that were.
local function unparked(r)
    if r.parked == '' then return nil end
    unpark(r.user)
    return ''
end

local function take_entry(r)
    if r.job ~= '' then call('XDEL', r.bulk == '1' and BULK or JOBS, r.job) end
    call('ZREM', LATER, r.user)
end

-- The wave by which the account is queued now; only those have the field that ever were by one.
local function waved(r, wave) return (wave ~= '' or r.wave ~= '') and wave or nil end

-- An account has one entry in the streams of jobs. Returns what the route has to remember of it.
local function push(r, bulk)
    take_entry(r)
    local b = bulk and '1' or ''
    return {state = 'queued', bulk = b, job = call('XADD', bulk and BULK or JOBS, '*', 'user', r.user), owner = '',
            last_owner = '', reason = '', next_try = '0', deadline = '0', held_from = '', parked = unparked(r),
            gather = r.gather ~= '' and '' or nil}
end

-- One of r's group that rests where r came from goes with it: what its route has to remember of that.
local RESTS = set_of('resting', 'flipped', 'settled')
local function push_with(r, m)
    local set = push(m, true)
    set.source, set.target, set.force, set.back, set.now = r.source, r.target, '', r.back, r.now
    set.attempts, set.failed, set.wave = '0', '', waved(m, '')
    return set
end

-- The account waits for the end of its wave's pause: queued, in nobody's way, and due_list.lua finds it then. Who had the job
-- has lost it.
local function park(r)
    take_entry(r)
    call('SADD', prefix .. 'parked', r.wave)
    call('ZADD', prefix .. 'parked:' .. r.wave, now_text(), r.user)
    change(r, {state = 'queued', job = '', owner = '', last_owner = '', next_try = '0', deadline = '0', parked = r.wave,
               gather = r.gather ~= '' and '' or nil,
               reason = 'wave: ' .. r.wave .. ' is paused'}, 'state')
end

-- Is an entry of a stream of jobs in that migrator's hands? Who was silent for too long loses it to another (orphans.lua).
local function has_entry(stream, group, migrator, id)
    return #call('XPENDING', stream, group, id, id, '1', migrator) > 0
end

-- ---- leases ----

-- What an incarnation wrote last: "counter version address generation renewed short long", the terms of its lease in ms at
-- the end. The versions before wrote no terms: nil, and who watches goes by its own. Further words are for later versions.
local function proxy(incarnation)
    local v = call('HGET', PROXIES, incarnation)
    local short, long = string.match(v or '', '^%d+ %S+ %S+ %d+ %d+ (%d+) (%d+)%f[ %z]')
    return {known = v and true or false, counter = string.match(v or '', '^(%d+)%f[ %z]') or '', short = short, long = long,
            host = string.match(v or '', '^%d+ %S+ ([^%% ]%S*)') or ''}
end

-- Of a migrator: its term and when it told it, both in ms; 0 where it told none.
local function parse_migrator(v)
    local term, told = string.match(v, '^(%d+) (%d+)%f[ %z]')
    return number(term), number(told)
end

-- Nobody holds a job for longer without a word.
local function longest_term(own)
    local longest, all = own, call('HVALS', MIGRATORS)
    for i = 1, #all do longest = math.max(longest, (parse_migrator(all[i]))) end
    return longest
end

-- ---- sessions ----

-- A registration is "backend epoch mode address since", the words percent-encoded. One that can't be read counts as a
-- session that runs and has seen nothing.
local function encode(s)
    if s ~= '' and not string.find(s, '[^%w%.%-_:@+=%[%]]') then return s end
    s = string.gsub(s, '[^%w%.%-_:@+=%[%]]', function(c) return string.format('%%%02X', string.byte(c)) end)
    return s == '' and '%' or s
end

local function decode(s)
    return s == '%' and '' or (string.gsub(s, '%%(%x%x)', function(h) return string.char(tonumber(h, 16)) end))
end

local function parse_session(v)
    local backend, epoch, mode, address, since = string.match(v, '^(%S+) (%d+) (%l+) (%S+) (%d+)$')
    return {backend = backend or '%', epoch = epoch or '0', mode = mode or 'running', address = address or '%',
            since = since or '0'}
end

local function session(user, name)
    local v = call('HGET', key('sessions', user), name)
    return v and parse_session(v) or nil
end

local function session_text(backend, epoch, mode, address, since)
    return backend .. ' ' .. epoch .. ' ' .. mode .. ' ' .. address .. ' ' .. since
end

local function put_session(user, name, s)
    call('HSET', key('sessions', user), name, session_text(s.backend, s.epoch, s.mode, s.address, s.since))
end

-- name -> session; of one incarnation where that is given. A name is "<incarnation>/<n>".
local function sessions(user, incarnation)
    local all, flat = {}, call('HGETALL', key('sessions', user))
    for i = 1, #flat, 2 do
        if not incarnation or string.match(flat[i], '^(.*)/[^/]*$') == incarnation then
            all[flat[i]] = parse_session(flat[i + 1])
        end
    end
    return all
end

-- How many do not rest, for this very attempt.
local function restless(r)
    local n = 0
    for _, s in pairs(sessions(r.user)) do
        if s.mode ~= 'frozen' or s.epoch ~= r.epoch then n = n + 1 end
    end
    return n
end

-- How many, but for those of proxies that have been silent for three terms: what a crashed one has left is in nobody's way.
local function alive(user)
    local n, of = 0, {}
    for _, name in ipairs(call('HKEYS', key('sessions', user))) do
        local incarnation = string.match(name, '^(.*)/[^/]*$') or name
        if of[incarnation] == nil then
            local renewed, short = string.match(call('HGET', PROXIES, incarnation) or '', '^%d+ %S+ %S+ %d+ (%d+) (%d+)')
            of[incarnation] = number(renewed) + 3 * number(short) > now()
        end
        n = n + (of[incarnation] and 1 or 0)
    end
    return n
end

-- ---- ledgers ----

-- PREFIX:folded:USER has all that was folded of an account's ledgers in one text, since a key for each of many small
-- mailboxes would be most of what they take. Its first line is pairs of source and target in words; then a line for each
-- record: its id in base 64 (twelve digits for the usual sixteen of base 16), which pair, and what migrator/mailbox/folded.h wrote.
local DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

local function folded_name(id)
    local short = string.gsub(id .. string.rep('0', -#id % 3), '...', function(h)
        local n = tonumber(h, 16) or 0
        local hi = math.floor(n / 64)
        return string.sub(DIGITS, hi + 1, hi + 1) .. string.sub(DIGITS, n % 64 + 1, n % 64 + 1)
    end)
    return #id == 16 and short or '=' .. id .. '='
end

-- Where its line begins (at the line feed before it) and ends, and what it says; nil: there is none.
local function folded_line(all, id)
    local from, to = string.find(all, '\n' .. folded_name(id), 1, true)
    if not from then return nil end
    local stop = (string.find(all, '\n', to + 1, true) or #all + 1) - 1
    return from, stop, string.byte(all, to + 1) - 64, string.sub(all, to + 2, stop)
end

local function folded_entry(source, target, text) return table.concat({'5 folded', source, target, text}, ' ') end

local function folded_pairs(all)
    local words = {}
    for word in string.gmatch(string.match(all, '^[^\n]*') or '', '%S+') do words[#words + 1] = word end
    return words
end

-- As an entry of the ledger; nil: there is nothing.
local function folded_find(user, id)
    local all = call('GET', key('folded', user)) or ''
    local from, _, pair, text = folded_line(all, id)
    if not from then return nil end
    local words = folded_pairs(all)
    return folded_entry(words[2 * pair - 1], words[2 * pair], text)
end

-- Without source, target and text the line is taken away.
local function folded_put(user, id, source, target, text)
    local all, words = call('GET', key('folded', user)) or '', nil
    local from, stop = folded_line(all, id)
    if from then all = string.sub(all, 1, from - 1) .. string.sub(all, stop + 1) end
    words = folded_pairs(all)
    all = string.match(all, '\n.*') or ''
    if text then
        local at = 1
        while words[at] and (words[at] ~= source or words[at + 1] ~= target) do at = at + 2 end
        words[at], words[at + 1] = source, target
        all = all .. '\n' .. folded_name(id) .. string.char(64 + (at + 1) / 2) .. text
    end
    if all == '' then
        call('UNLINK', key('folded', user))
    else
        call('SET', key('folded', user), table.concat(words, ' ') .. all)
    end
end

-- ---- hooks ----

-- A command of the site has to be run once this has happened. Its name says all of it: event, epoch, source, target,
-- account, each a line. Who runs it has it for the lease (0: there is no such command); PREFIX:hooks is by when another may,
-- PREFIX:hooks:by the token of who runs it.
local function hook_note(r, what, source, token, lease)
    if number(lease) == 0 then return end
    local name = table.concat({what, r.epoch, source, r.backend, r.user}, '\n')
    call('ZADD', HOOKS, text(now() + number(lease)), name)
    call('HSET', HOOKS .. ':by', name, token)
end

-- ---- staff ----

-- What staff did is kept as a mark until the state changes, so that a repeat is known as one.
local function staff_mark(...) return table.concat({...}, '\n') end

-- An entry of the stream of all accounts, and of the account's own: PREFIX:audit and PREFIX:audit:USER for what somebody did.
-- What the late watch found goes to PREFIX:arrivals and PREFIX:arrivals:USER, since it would push that out.
-- Both end after the store's `audit_keep` (sample.lua): that of an account once nothing was added for so long.
local OF_ALL, OF_ONE = 100000, 1000

-- Redis sets 4 KiB aside for a new stream, of which most accounts use a tenth. A copy takes what it needs.
-- (An ACL may forbid either command, and what the script has begun is to be ended all the same.)
local function write_entry(stream, user, ...)
    call('XADD', stream, 'MAXLEN', '~', OF_ALL, '*', 'user', user, ...)
    if user == '' then return end
    local own, copy = stream .. ':' .. user, prefix .. 'copy'
    local is_new = call('EXISTS', own) == 0
    call('XADD', own, 'MAXLEN', '~', OF_ONE, '*', 'user', user, ...)
    if is_new and redis.pcall('COPY', own, copy, 'REPLACE') == 1 then redis.pcall('RENAME', copy, own) end
    if S.audit_keep == 0 then return end
    call('PEXPIRE', own, text(S.audit_keep))
    if stream == AUDIT then call('PEXPIRE', key('packed', user), text(S.audit_keep)) end
end

local function audit(who, what, user, reason, before, after)
    write_entry(AUDIT, user, 'who', who, 'what', what, 'reason', reason, 'before', before, 'after', after)
end

-- A stream is several times what two entries are, and those of an account that has settled are read once in a year. So they are
-- put into PREFIX:packed:USER, a line each, where the store is a small one (small()); what is added later has its stream again. An
-- account that was forgotten keeps its stream, by which that is known (migrator/site/recall.h), and so does one of many entries.
local PACKED, MANY = {'who', 'what', 'reason', 'before', 'after'}, 40

local function packed_line(entry)
    local f, words = {}, {entry[1]}
    for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
    for _, name in ipairs(PACKED) do words[#words + 1] = encode(f[name] or '') end
    return f.what ~= 'forget' and table.concat(words, ' ')
end

-- As XREVRANGE would tell them.
local function packed_entries(user)
    local out = {}
    for line in string.gmatch(try('GET', key('packed', user)) or '', '[^\n]+') do
        local words, fields = {}, {'user', user}
        for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
        for i, name in ipairs(PACKED) do
            fields[2 * i + 1], fields[2 * i + 2] = name, decode(words[i + 1] or '')
        end
        table.insert(out, 1, {words[1], fields})
    end
    return out
end

local function pack_audit(user)
    local own, packed = AUDIT .. ':' .. user, key('packed', user)
    local entries, all = small() and try('XRANGE', own, '-', '+', 'COUNT', text(MANY + 1)) or {}, try('GET', packed)
    if #entries == 0 or #entries > MANY or all and #all > MANY * 200 then return end
    local lines = {all or nil}
    for _, entry in ipairs(entries) do
        lines[#lines + 1] = packed_line(entry)
        if not lines[#lines] then return end
    end
    if not try('SET', packed, table.concat(lines, '\n')) then return end
    if S.audit_keep > 0 then call('PEXPIRE', packed, text(S.audit_keep)) end
    call('DEL', own)
end

-- ---- restores ----

-- Behind a dot in its token a restore says for which of the site's stores it is, and by which files (migrator/admin/restore.c). Over half
-- of one, another that is of something else would leave beside its own what that has brought: accounts of another store, for which
-- two migrators would then work, or waivers that were taken back since.
local function restore_of(token) return string.match(token, '%.(.*)$') or '' end -- '': of a release that told nothing
local function is_of_another(token, of) return restore_of(token) ~= '' and restore_of(token) ~= of end

-- ---- marks ----

-- By which an account is known again under another name (fingerprint.lua): mark -> account, and "=account" -> its marks. In a small
-- store they stand, as bytes, in 65,536 hashes that Redis keeps as lists, PREFIX:fingerprints:XXXX by a mark's first digits or by a
-- hash of the account's name; in an older one as text in PREFIX:fingerprints, which a program of the version before looks into.
local function mark_bytes(mark) return (string.gsub(mark, '%x%x', function(h) return string.char(tonumber(h, 16)) end)) end
local function mark_place(mark)
    if not small() then return prefix .. 'fingerprints', mark end
    return prefix .. 'fingerprints:' .. string.sub(mark, 1, 4), mark_bytes(string.sub(mark, 5))
end

local function marks_place(user)
    if not small() then return prefix .. 'fingerprints', '=' .. user end
    return prefix .. 'fingerprints:' .. string.sub(redis.sha1hex(user), 1, 4), '=' .. user
end

local function marked(mark) return call('HGET', mark_place(mark)) or nil end

-- The marks that it has. '' and the old text where the store is none of the small ones: no length stands before them.
local function marks_of(user)
    local all, marks = call('HGET', marks_place(user)) or '', {}
    if not small() then
        for mark in string.gmatch(all, '%S+') do marks[#marks + 1] = mark end
        return marks
    end
    local at = 1
    while at <= #all do
        local n = string.byte(all, at)
        marks[#marks + 1] = string.gsub(string.sub(all, at + 1, at + n), '.', function(c) return format('%02x', string.byte(c)) end)
        at = at + 1 + n
    end
    return marks
end

local function marks_drop(user)
    for _, mark in ipairs(marks_of(user)) do
        local all, field = mark_place(mark)
        if call('HGET', all, field) == user then call('HDEL', all, field) end
    end
    local all, field = marks_place(user)
    call('HDEL', all, field)
end

-- Those that are nobody's yet.
local function marks_put(user, marks)
    local kept = {}
    for _, mark in ipairs(marks) do
        local all, field = mark_place(mark)
        local bytes = small() and mark_bytes(mark)
        if call('HSETNX', all, field, user) == 1 then kept[#kept + 1] = bytes and string.char(#bytes) .. bytes or mark end
    end
    if #kept == 0 then return end
    local all, field = marks_place(user)
    call('HSET', all, field, table.concat(kept, small() and '' or ' '))
end

-- ---- the scripts ----
