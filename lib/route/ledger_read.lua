-- ledger_read: rows of the list of one record. args: user, record id, first, last.
-- A script, so that a store that was emptied is not taken for a ledger that is.
if not open() then return NOSTORE end
local out, rows = {'ok'}, call('LRANGE', key('ledger', arg(1)) .. ':' .. arg(2), arg(3), arg(4))
for i = 1, #rows do out[i + 1] = rows[i] end
return out
