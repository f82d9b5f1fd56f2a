-- late_keep: the look takes longer. args: user, token, epoch, lease in ms.
if not open() then return NOSTORE end
local r, mine = job()
if not mine or not WATCHED[r.state] then return {'lost', r.state} end
late_put(r.user, number(arg(4)), late_is_daily(r.user))
return OK
