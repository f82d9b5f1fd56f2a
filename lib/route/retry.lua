-- retry: staff have an account tried again now. args: user, who, reason, home, run ('' for one alone: else it is one of many,
-- behind the logins, which have one entry of the audit for all).
if not open() then return NOSTORE end
local r = route(arg(1))
local run = arg(5)
local mark = staff_mark('retry', arg(2), arg(3), run)
if r.staff == mark then return {'ok', r.state} end
if r.state ~= 'backoff' and r.state ~= 'blocked' then return {'refused', r.state} end
local before, set = r.state, push(r, run ~= '')
set.attempts, set.died, set.died_late, set.staff = '0', '', '', mark
change(r, set, 'state')
if run == '' then audit(arg(2), 'retry', r.user, arg(3), before, r.state) end
return {'ok', r.state}
