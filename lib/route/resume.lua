-- resume: may a session go on after its lease lapsed? args: user, session, backend, epoch, home, generation.
-- Only when its registration is there still: what was taken away never comes back under the same name. A registration
-- that has seen less than its proxy is one whose `seen` was lost. wait: it may, but it has to rest.
-- flags: allow-oom
if not open() then return NOSTORE end
local r = route(arg(1), arg(5))
local s = session(r.user, arg(2))
if not s or arg(6) ~= stamp() then return {'lost', r.state} end
if s.backend ~= encode(arg(3)) or r.backend ~= arg(3) then return {'lost', r.state} end
if number(s.epoch) > number(arg(4)) or number(arg(4)) > number(r.epoch) then return {'lost', r.state} end
if FROZEN[r.state] then return {'wait', r.state} end
return {'ok', r.state}
