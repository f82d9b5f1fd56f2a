-- audit_read: the newest entries of an account's history, or of all. args: user ('' all), how many of each kind at most.
-- ok: what somebody did, what came late; each as XREVRANGE tells it.
-- flags: no-writes
if not open() then return NOSTORE end
local of = arg(1) == '' and '' or ':' .. arg(1)
local done = call('XREVRANGE', AUDIT .. of, '+', '-', 'COUNT', arg(2))
if of ~= '' then
    for _, entry in ipairs(packed_entries(arg(1))) do
        if #done < number(arg(2)) then done[#done + 1] = entry end
    end
end
-- A version before had no stream for each account: of what it wrote the newest entries are looked through. `audit_since`: when
-- that ended, in ms ('' not yet).
local since = call('HGET', STORE, 'audit_since') or '+'
if number(since) > 0 then since = text(number(since) - 1) end -- what came in the same millisecond stands in both
if of ~= '' and since ~= '0' and #done < number(arg(2)) then
    for _, entry in ipairs(call('XREVRANGE', AUDIT, since, '-', 'COUNT', '5000')) do
        local f = entry[2]
        for i = 1, #f, 2 do
            if f[i] == 'user' and f[i + 1] == arg(1) and #done < number(arg(2)) then done[#done + 1] = entry end
        end
    end
end
return {'ok', done, call('XREVRANGE', ARRIVALS .. of, '+', '-', 'COUNT', arg(2))}
