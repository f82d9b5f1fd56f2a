-- ledger_drop: the owner empties the list of one record. args: user, token, epoch, record id.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
call('DEL', key('ledger', r.user) .. ':' .. arg(4))
return OK
