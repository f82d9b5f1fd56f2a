-- late_keep: the look takes longer. args: user, token, epoch, lease in ms.
if not open() then return NOSTORE end
local r, mine = job()
if not mine or not WATCHED[r.state] then return {'lost', r.state} end
call('ZADD', prefix .. 'late', text(now() + number(arg(4))), r.user)
return OK
