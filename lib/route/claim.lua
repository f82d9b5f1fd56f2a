-- claim: takes a job. args: user, token. Called by who holds the account's entry of the stream alone, so an owner found
-- here is gone. ok: generation, now, the fields of the route. In a quarantine it may not be: it may still work with what
-- a former master told it, and two that copy at once copy twice. It goes on itself, of course.
if not open(true) then return NOSTORE end
local r = route(arg(1))
local token = arg(2)
if token == '' then return {'refused', 'no token'} end
local function answer()
    local out, flat = {'ok', text(S.generation), text(now())}, call('HGETALL', key('route', r.user))
    for i = 1, #flat do out[#out + 1] = flat[i] end
    return out
end
if r.owner == token and OWNED[r.state] then return answer() end
local due = r.state == 'backoff' and number(r.next_try) > 0 and now() >= number(r.next_try)
if not (OWNED[r.state] or r.state == 'queued' or due) then return {'refused', r.state} end
local forward = r.state == 'flipping'
if paused() and not forward then return {'paused'} end
if quarantine_left() > 0 and not forward then return {'quarantine', text(quarantine_left())} end
local epoch = text(number(r.epoch) + 1)
call('ZREM', LATER, r.user)
change(r, {state = forward and 'flipping' or 'copying', epoch = epoch, prior = r.epoch, owner = token, last_owner = '',
           deadline = '0', next_try = '0', reason = '', engaged = number(r.engaged) > 0 and r.engaged or epoch}, 'state')
return answer()
