-- register: a session of a proxy whose lease did not lapse, on a new master, which may have lost its registration.
-- args: user, session, backend, epoch, address, home, generation. Up to preparing as running, never as frozen; from
-- freezing on it only confirms what is there (wait). lost: the session has to be dropped.
if not open() then return NOSTORE end
local r = route(arg(1), arg(6))
if arg(7) ~= stamp() or r.backend ~= arg(3) then return {'lost', r.state} end
local s = session(r.user, arg(2))
if s and s.backend ~= encode(arg(3)) then return {'lost', r.state} end
if FROZEN[r.state] then return {s and 'wait' or 'lost', r.state} end
if s and s.mode == 'running' then return {'ok', r.state} end
put_session(r.user, arg(2), {backend = encode(arg(3)), epoch = text(math.min(number(arg(4)), number(r.epoch))),
                             mode = 'running', address = encode(arg(5)), since = s and s.since or now_text()})
if r.state == 'preparing' then event(r, 'entered') end
return {'ok', r.state}
