-- enter: registers a session, and queues the account. The only script that adds a registration on a master that knows
-- its proxies. args: user, session, what was read (backend, state, epoch, generation), address, enqueue, source,
-- target, home, ttl of the sealed credential, sealed.
-- ok: state, epoch. again: the route is another. wait: freezing, flipping.
if not open() then return NOSTORE end
local source, target, ttl, sealed = arg(9), arg(10), number(arg(12)), arg(13)
if arg(6) ~= text(S.generation) then return {'again', 'generation'} end
local r = route(arg(1), arg(11))
local had = session(r.user, arg(2))
if had and had.backend == encode(arg(3)) and r.backend == arg(3) then return {'ok', r.state, r.epoch} end
if may_thaw(r) and is_late(r) then
    thaw(r, 'deadline: the freeze took longer than its budget')
    return {'again', r.state}
end
if FROZEN[r.state] then return {'wait', r.state} end
if r.backend ~= arg(3) or r.state ~= arg(4) or r.epoch ~= arg(5) then return {'again', r.state} end

local set
if arg(8) == '1' and r.state == 'resting' and r.backend == source and target ~= '' and target ~= source then
    set = push(r, false)
    set.source, set.target, set.attempts, set.force, set.back, set.now = source, target, '0', '', '', ''
elseif r.state == 'backoff' and r.backend == r.source and
       (number(r.next_try) == 0 or string.sub(r.reason, 1, 11) == 'credentials') then
    set = push(r, false)
elseif r.state == 'queued' and r.bulk == '1' then
    set = push(r, false) -- logins go before bulk
end
if set then change(r, set, 'state') end
put_session(r.user, arg(2), {backend = encode(arg(3)), epoch = r.epoch, mode = 'running', address = encode(arg(7)),
                             since = text(now())})
if r.state == 'preparing' then event(r, 'entered') end
local wanted = r.backend == r.source and (UNDER_WAY[r.state] or r.state == 'backoff' or r.state == 'blocked')
if wanted and sealed ~= '' and ttl > 0 then call('SET', key('secret', r.user), sealed, 'PX', text(ttl)) end
return {'ok', r.state, r.epoch}
