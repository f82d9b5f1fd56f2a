-- ledger_read: rows of the list of one record, and before the first what was folded of it. args: user, record id, first, last.
-- A script, so that a store that was emptied is not taken for a ledger that is.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
if arg(3) == '0' then out[2] = folded_find(arg(1), arg(2)) end
for _, row in ipairs(call('LRANGE', key('ledger', arg(1)) .. ':' .. arg(2), arg(3), arg(4))) do out[#out + 1] = row end
return out
