-- list_page: accounts with a record, page by page, without a look at all of them: what is under way or does not get on (groups in
-- head.lua), what is queued (the streams of jobs), what was switched over (late, late:daily). Accounts that rest are in none of these.
-- args: state ('' any), word that the reason begins with ('' any), cursor ('' the first page), how many at most.
-- ok: the cursor of the next page ('' there is none), then of each: user, state, backend, reason, time of the next try in ms ('0'
-- none), since when in ms ('0' not known), what ended the last attempt, messages and bytes, done and total, and the cursor behind it. A page
-- may have fewer than it could, and another one follows all the same.
-- A cursor is a place in one order of all accounts, whichever store has them: by source, byte by byte, then by time or id, then by account.
-- flags: no-writes
if not open() then return NOSTORE end
local state, word, most = arg(1), arg(2), math.max(1, math.min(number(arg(4)), 500))
local at, score, member = string.match(arg(3), '^(%S+) (%d+%-?%d*) (%S+)$')
if at and (string.sub(at, 1, 5) == '~jobs') ~= (string.find(score, '-', 1, true) ~= nil) then at = nil end
local STREAMS = {['~jobs'] = JOBS, ['~jobs:bulk'] = BULK}
local SETS = {['~late'] = LATE, ['~late:daily'] = DAILY}
local FIELDS = {'state', 'backend', 'reason', 'next_try', 'failed', 'messages_done', 'messages_total', 'bytes_done', 'bytes_total',
                'flipped_at'}
local SWITCHED = set_of('flipped', 'settled')
local function wanted(s) return state == '' or state == s end

local sources = {}
for _, group in ipairs(try('SMEMBERS', GROUPS) or {}) do
    local s, w = string.match(group, '^(%l+):(.*)$')
    if s and wanted(s) and (word == '' or w == word) then sources[#sources + 1] = group end
end
if word == '' and wanted('queued') then
    for name in pairs(STREAMS) do sources[#sources + 1] = name end
end
if word == '' and (wanted('flipped') or wanted('settled')) then
    for name in pairs(SETS) do sources[#sources + 1] = name end
end
-- As bytes, whatever the locale of this server is.
local function before(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then return x < y end
    end
    return #a < #b
end
table.sort(sources, before)

local function in_stream(stream, from, n)
    local rows, first = {}, '-'
    if from then
        local same = (try('XRANGE', stream, score, score) or {})[1]
        first = same and before(member, same[2][2]) and score or '(' .. score
    end
    for i, entry in ipairs(try('XRANGE', stream, first, '+', 'COUNT', text(n)) or {}) do
        rows[i] = {entry[2][2], entry[1], string.match(entry[1], '^%d+')}
    end
    return rows
end

-- Behind the one that the page before ended with, also where that has gone, or is in another store.
local function in_set(set, from, n)
    local first, rows = 0, {}
    if from then
        local rank = call('ZSCORE', set, member) == score and call('ZRANK', set, member)
        first = rank and rank + 1 or call('ZCOUNT', set, '-inf', '(' .. score)
        for _, other in ipairs(rank and {} or call('ZRANGEBYSCORE', set, score, score)) do
            first = first + (before(member, other) and 0 or 1)
        end
    end
    local flat = call('ZRANGE', set, text(first), text(first + n - 1), 'WITHSCORES')
    for i = 1, #flat, 2 do rows[#rows + 1] = {flat[i], flat[i + 1], flat[i + 1]} end
    return rows
end

local function belongs(source, s, reason)
    if not wanted(s) then return false end
    if STREAMS[source] then return s == 'queued' end
    if SETS[source] then return SWITCHED[s] end
    return group_of(s, reason) == source
end

local out, looked = {'ok', ''}, 0
for _, source in ipairs(sources) do
    local rows = {}
    if not at or not before(source, at) then
        local ask = 4 * most - looked
        rows = STREAMS[source] and in_stream(STREAMS[source], source == at, ask)
            or in_set(SETS[source] or prefix .. 'in:' .. source, source == at, ask)
    end
    for _, row in ipairs(rows) do
        local f = try('HMGET', key('route', row[1]), unpack(FIELDS)) or {}
        looked = looked + 1
        if f[1] and belongs(source, f[1], f[3] or '') then
            local since = SETS[source] and (f[10] or '0') or row[3]
            for _, v in ipairs({row[1], f[1], f[2] or '', f[3] or '', f[4] or '0', since, f[5] or ''}) do out[#out + 1] = v end
            for i = 6, 9 do out[#out + 1] = f[i] or '0' end
            out[#out + 1] = source .. ' ' .. row[2] .. ' ' .. row[1]
        end
        if #out - 2 >= 12 * most or looked >= 4 * most then
            out[2] = source .. ' ' .. row[2] .. ' ' .. row[1]
            return out
        end
    end
end
return out
