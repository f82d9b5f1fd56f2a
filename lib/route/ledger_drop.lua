-- ledger_drop: the owner empties the ledger of one record. args: user, token, epoch, record id.
-- flags: allow-oom
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
call('UNLINK', key('ledger', r.user) .. ':' .. arg(4))
if folded_find(r.user, arg(4)) then folded_put(r.user, arg(4)) end
return OK
