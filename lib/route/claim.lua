-- claim: takes a job. args: user, token, the migrator's name, 1 for the bulk stream, id of the entry, group. The entry is the
-- account's own and in the caller's hands, so an owner found here is gone. Else it lives: the call comes late and another has the
-- entry by now (lost), or the account was queued anew while the entry lay here (refused). The version before names no entry.
-- ok: generation, now, the fields of the route. In a quarantine the owner may not be gone: it may still
-- work with what a former master told it, and two that copy at once copy twice. It goes on itself, of course.
-- Where the account's wave is paused it is parked (head.lua), and refused.
-- An owner that has not given the job away may have died of it: after the second one the account is blocked. Not in
-- `flipping`, from where there is no way but forward.
if not open(true) then return NOSTORE end
local r = route(arg(1))
local token = arg(2)
if token == '' then return {'refused', 'no token'} end
if arg(5) ~= '' then
    if not has_entry(arg(4) == '1' and BULK or JOBS, arg(6), arg(3), arg(5)) then return {'lost', r.state} end
    local parked = r.parked ~= '' and r.job == '' -- what of its entry is still in the caller's hands is no job any more
    if parked or (r.job ~= '' and r.job ~= arg(5)) then return {'refused', r.state} end
end
local function answer()
    local out, flat = {'ok', stamp(), now_text()}, call('HGETALL', key('route', r.user))
    for i = 1, #flat do out[#out + 1] = flat[i] end
    return out
end
if r.owner == token and OWNED[r.state] then return answer() end
local due = r.state == 'backoff' and number(r.next_try) > 0 and now() >= number(r.next_try)
if not (OWNED[r.state] or r.state == 'queued' or due) then return {'refused', r.state} end
local forward = r.state == 'flipping'
if paused() and not forward then return {'paused'} end
if quarantine_left() > 0 and not forward then return {'quarantine', text(quarantine_left())} end
local halted = not forward and wave_paused(r.wave)
if halted and may_thaw(r) then return {'paused'} end -- who had it is gone: its deadline thaws it
if may_thaw(r) then thaw_mates(r, 'migrator: the one that had it is gone') end
if not forward and died_with(r) > died_of(r) then
    local late = r.state ~= 'copying' and '1' or r.died_late
    change(r, {died = r.died .. ' ' .. r.owner .. '/' .. encode(r.at), died_late = late})
end
if not forward and died_of(r) >= 2 then
    local names = {}
    for name in string.gmatch(r.died, '/(%S+)') do names[#names + 1] = name end
    call('ZREM', LATER, r.user)
    change(r, {state = 'blocked', owner = '', last_owner = r.owner, deadline = '0', next_try = '0',
               attempts = text(number(r.attempts) + 1),
               reason = 'killed: these migrators ended (crash, kill, reboot) or fell silent, one after the other, while ' ..
                        'they had the account, and did not give it away: ' .. table.concat(names, ', ') ..
                        '; the last one while it was ' .. r.state}, 'state')
    return {'refused', r.state}
end
if halted then
    park(r)
    return {'refused', 'parked'}
end
local epoch = text(number(r.epoch) + 1)
call('ZREM', LATER, r.user)
change(r, {state = forward and 'flipping' or 'copying', epoch = epoch, prior = r.epoch, owner = token, at = arg(3),
           given = '', last_owner = '', deadline = '0', next_try = '0', reason = '',
           engaged = number(r.engaged) > 0 and r.engaged or epoch}, 'state')
return answer()
