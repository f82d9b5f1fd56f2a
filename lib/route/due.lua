-- due: one account whose time may have come, or that was parked in its wave (head.lua), is queued. args: user. ok: 1 where it was. One that waits until nobody uses it
-- (wait.lua) and is in use still waits on, without an event, until its next pass.
if not open() then return NOSTORE end
if not try('HLEN', key('route', arg(1))) then
    call('ZREM', LATER, arg(1))
    unpark(arg(1))
    return {'ok', '0'}
end
local r = route(arg(1))
if r.parked ~= '' then
    if wave_paused(r.parked) then return {'ok', '0'} end
    local waits = r.state == 'queued' and r.job == ''
    if waits then
        change(r, push(r, r.bulk == '1'), 'state')
    else
        unpark(r.user)
        change(r, {parked = ''})
    end
    return {'ok', waits and '1' or '0'}
end
unpark(r.user) -- of a release that knows no waves it may be there still
local next_try = number(r.next_try)
if (r.state ~= 'backoff' and r.state ~= 'ready') or next_try == 0 then
    call('ZREM', LATER, r.user)
    return {'ok', '0'}
end
if now() < next_try then return {'ok', '0'} end
local left, pass_in = busy_left(r.user), number(r.pass_at) - now()
if r.state == 'ready' and left > 0 and pass_in > 0 then
    local at = text(now() + math.min(left, pass_in))
    call('ZADD', LATER, at, r.user)
    change(r, {next_try = at})
    return {'ok', '0'}
end
change(r, push(r, r.bulk == '1'), 'state')
return {'ok', '1'}
