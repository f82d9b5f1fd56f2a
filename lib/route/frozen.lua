-- frozen: a session rests. args: user, session, epoch, generation.
if not open() then return NOSTORE end
local r = route(arg(1))
local s = session(r.user, arg(2))
if not s or not r.exists or arg(4) ~= stamp() or arg(3) ~= r.epoch then return {'lost', r.state} end
if FROZEN[r.state] and s.mode == 'frozen' and s.epoch == r.epoch then return OK end
if r.state ~= 'freezing' then return {'lost', r.state} end
s.mode, s.epoch = 'frozen', r.epoch
put_session(r.user, arg(2), s)
event(r, 'frozen')
return OK
