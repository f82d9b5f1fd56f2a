-- orphans: entries of a stream of jobs whose migrators are gone. args: group, the caller's name in it, 1 for the bulk stream,
-- its job_lease in ms, places (how many jobs it has room for), suspects (how many jobs it may take that a migrator has died
-- with), ms (for so much longer what is in `flipping` is left to others), where to begin (the id behind which; empty: at
-- the oldest), how many to look at. Gone is who has claimed an entry for as long as the longer term of both sides no more;
-- one of the version before tells none (migrator.lua), and the caller's alone counts. What is taken is the caller's from now
-- on. An account in `flipping` is taken without a place: its user waits, and all that is left to do is a line and a script.
-- ok: where to go on ('' at the end), then for each one taken: id, user, what it is (forward, suspect, plain).
-- flags: allow-oom
if not open() then return NOSTORE end
local stream, group, me = arg(3) == '1' and BULK or JOBS, arg(1), arg(2)
local own, places, suspects, max = number(arg(4)), number(arg(5)), number(arg(6)), number(arg(9))
local rows = call('XPENDING', stream, group, 'IDLE', arg(4), arg(8) == '' and '-' or '(' .. arg(8), '+', text(max))
local out, terms = {'ok', #rows == max and rows[#rows][1] or ''}, {}
local patience = number(arg(7)) > 0 and longest_term(own) + number(arg(7)) or 0 -- what was given away seems that old at once

local function term_of(migrator)
    if not terms[migrator] then
        local term = parse_migrator(call('HGET', MIGRATORS, migrator) or '')
        terms[migrator] = math.max(own, term)
    end
    return terms[migrator]
end

local function kind_of(user, waited)
    local f = try('HMGET', key('route', user), 'state', 'owner', 'given', 'died')
    if not f then return 'left' end
    local r = {state = f[1] or '', owner = f[2] or '', given = f[3] or '', died = f[4] or ''}
    if r.state == 'flipping' then return waited >= patience and 'forward' or 'left' end
    if places == 0 then return 'left' end
    if died_with(r) ~= 1 then return 'plain' end
    return suspects > 0 and 'suspect' or 'left'
end

for _, row in ipairs(rows) do
    local entry = call('XRANGE', stream, row[1], row[1])[1]
    local user = entry and entry[2][1] == 'user' and entry[2][2] or ''
    local lives = row[3] < term_of(row[2])
    local kind = lives and 'left' or user == '' and 'gone' or kind_of(user, row[3])
    if kind == 'gone' then
        call('XDEL', stream, row[1])
        call('XACK', stream, group, row[1])
    elseif kind ~= 'left' then
        call('XCLAIM', stream, group, me, arg(4), row[1], 'JUSTID')
        if kind ~= 'forward' then places = places - 1 end
        if kind == 'suspect' then suspects = suspects - 1 end
        for _, v in ipairs({row[1], user, kind}) do out[#out + 1] = v end
    end
end
return out
