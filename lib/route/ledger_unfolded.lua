-- ledger_unfolded: which of these records have a ledger that is a list still? args: user, record ids. ok: these.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
for i = 2, nargs() do
    if call('EXISTS', key('ledger', arg(1)) .. ':' .. arg(i)) == 1 then out[#out + 1] = arg(i) end
end
return out
