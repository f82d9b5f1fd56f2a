-- prepared: a session of the source has signed in at the target, or is known not to be able to for reasons of its own.
-- args: user, session, epoch, generation.
if not open() then return NOSTORE end
local r = route(arg(1))
local s = session(r.user, arg(2))
if not s or not r.exists or arg(4) ~= stamp() or arg(3) ~= r.epoch then return {'lost', r.state} end
if r.state ~= 'preparing' then return {'lost', r.state} end
if s.mode == 'prepared' and s.epoch == r.epoch then return OK end
s.mode, s.epoch = 'prepared', r.epoch
put_session(r.user, arg(2), s)
event(r, 'prepared')
return OK
