-- enter: registers a session, and queues the account. The only script that adds a registration on a master that knows
-- its proxies. args: user, session, what was read (backend, state, epoch, generation), address, enqueue, source,
-- target, home, ttl of the sealed credential, sealed, how many sessions the account may have (0: any number), and what was read
-- of the view (none, or *: it does not matter), and the wave by which it is queued (head.lua: wave_take; none: by no wave).
-- ok: state, epoch. again: the route is another. wait: freezing, flipping. full: it has as many.
if not open() then return NOSTORE end
local user, name, backend, state, epoch, generation, address, enqueue, source, target, home, ttl, sealed, most, view, wave = args()
if generation ~= stamp() then return {'again', 'generation'} end
local r = route(user, home)
local late = may_thaw(r) and is_late(r)
local as_read = r.backend == backend and r.state == state and r.epoch == epoch and not FROZEN[r.state] and not late
    and (not view or view == '*' or r.view == view)
local registrations, told = key('sessions', user), encode(backend)
local full = number(most) > 0 and call('HLEN', registrations) >= number(most) and alive(user) >= number(most)
local at = now_text()
local registration = session_text(told, r.epoch, 'running', encode(address), at)
-- At nearly every login all is as it was read, and the session is new: then this write is the whole of it.
if not as_read or full or call('HSETNX', registrations, name, registration) == 0 then
    local had = session(user, name)
    if had and had.backend == told and r.backend == backend then return {'ok', r.state, r.epoch} end
    if late then
        thaw(r, 'deadline: the freeze took longer than its budget')
        return {'again', r.state}
    end
    if FROZEN[r.state] then return {'wait', r.state} end
    if not as_read then return {'again', r.state} end
    if full then return {'full'} end
    call('HSET', registrations, name, registration)
end

local set
local rests = enqueue == '1' and r.state == 'resting' and r.backend == source and target ~= '' and target ~= source
local by = rests and ((wave or '') == '' and '' or wave_take(wave))
if rests and by then
    set = push(r, false)
    set.wave = waved(r, by)
    set.source, set.target, set.attempts, set.force, set.back, set.now = source, target, '0', '', '', ''
elseif r.state == 'backoff' and r.backend == r.source and
       (number(r.next_try) == 0 or string.sub(r.reason, 1, 11) == 'credentials') then
    set = push(r, false)
elseif r.state == 'queued' and r.bulk == '1' and r.parked == '' then
    set = push(r, false) -- logins go before bulk
end
if set then change(r, set, 'state') end
-- For staff, and to the hour: one more write at each login would be felt.
if r.exists and number(at) - number(r.login) >= 3600000 then call('HSET', key('route', user), 'login', at) end
if r.state == 'preparing' then event(r, 'entered') end
local wanted = UNDER_WAY[r.state] or r.state == 'backoff' or r.state == 'blocked'
if wanted and sealed ~= '' and number(ttl) > 0 and r.backend == r.source then
    call('SET', key('secret', user), sealed, 'PX', text(number(ttl)))
end
return {'ok', r.state, r.epoch}
