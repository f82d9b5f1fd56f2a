-- kick: staff end the sessions that an account has at this moment, at all proxies: these are told by an event. Its users may come back
-- at once. args: user, who, reason, home. Not while it is being switched over: its sessions rest then, and go on.
-- ok: how many are registered.
if not open() then return NOSTORE end
local r = look(arg(1), arg(4))
if may_thaw(r) or r.state == 'flipping' then return {'refused', r.state} end
local n = text(call('HLEN', key('sessions', r.user)))
if n == '0' then return {'ok', n} end
event(r, 'kick')
audit(arg(2), 'kick', r.user, arg(3), n .. ' sessions', 'ended')
return {'ok', n}
