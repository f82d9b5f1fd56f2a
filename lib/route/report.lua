-- report: the owner writes what its last pass compared and found, as one JSON text. args: user, token, epoch, text.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
call('SET', key('report', r.user), arg(4))
return OK
