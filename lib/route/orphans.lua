-- orphans: jobs whose migrator is gone become the caller's. args: group, id, job_lease in ms, 1 for the bulk stream, how many
-- at most. Gone is who has claimed an entry for as long as the longer term of both sides no more; one of the version before
-- tells none (migrator.lua), and the caller's alone counts.
-- ok: a list of id and list of names and values, the oldest first.
if not open() then return NOSTORE end
local stream, group, own, most = arg(4) == '1' and BULK or JOBS, arg(1), number(arg(3)), number(arg(5))
local terms, ids, from, rows = {}, {}, '-', nil
local function term_of(migrator)
    if not terms[migrator] then
        local term = parse_migrator(call('HGET', MIGRATORS, migrator) or '')
        terms[migrator] = math.max(own, term)
    end
    return terms[migrator]
end
repeat
    rows = call('XPENDING', stream, group, 'IDLE', arg(3), from, '+', '100')
    for _, row in ipairs(rows) do
        if row[3] >= term_of(row[2]) and #ids < most then ids[#ids + 1] = row[1] end
        from = '(' .. row[1]
    end
until #rows < 100 or #ids >= most
return {'ok', #ids > 0 and call('XCLAIM', stream, group, arg(2), arg(3), unpack(ids)) or {}}
