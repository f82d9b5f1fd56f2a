-- hold: staff pin an account where it is. args: user, who, reason, home. A job under way loses its owner.
if not open() then return NOSTORE end
local r = route(arg(1), arg(4))
if r.state == 'held' then return {'ok', r.state} end
if may_thaw(r) or r.state == 'flipping' then return {'refused', r.state} end
local before = r.state
call('ZREM', LATER, r.user)
change(r, {state = 'held', held_from = before, held_reason = r.reason, reason = 'held: ' .. arg(3), owner = '',
           last_owner = '', deadline = '0', next_try = '0', parked = unparked(r)}, 'state')
audit(arg(2), 'hold', r.user, arg(3), before, r.state)
return {'ok', r.state}
