-- leave: ends a registration. args: user, session.
-- flags: allow-oom
if not open() then return NOSTORE end
local r = route(arg(1))
if call('HDEL', key('sessions', r.user), arg(2)) == 1 and may_thaw(r) then event(r, 'left') end
return OK
