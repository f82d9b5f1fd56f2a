-- retry: staff have an account tried again now. args: user, who, reason.
if not open() then return NOSTORE end
local r = route(arg(1))
local mark = staff_mark('retry', arg(2), arg(3))
if r.staff == mark then return {'ok', r.state} end
if r.state ~= 'backoff' and r.state ~= 'blocked' then return {'refused', r.state} end
local before, set = r.state, push(r, false)
set.attempts, set.died, set.died_late, set.staff = '0', '', '', mark
change(r, set, 'state')
audit(arg(2), 'retry', r.user, arg(3), before, r.state)
return {'ok', r.state}
