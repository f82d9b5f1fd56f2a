-- refuse: the target does not let a session in whose credentials are good: ends the attempt before anybody rests.
-- args: user, session, epoch, generation, reason. Only in preparing: from there on nobody asks the target any more.
if not open() then return NOSTORE end
local r = route(arg(1))
local s = session(r.user, arg(2))
if not s or not r.exists or arg(4) ~= stamp() or arg(3) ~= r.epoch then return {'lost', r.state} end
if r.state == 'ready' and r.reason == arg(5) then return OK end
if r.state ~= 'preparing' then return {'lost', r.state} end
thaw(r, arg(5))
return OK
