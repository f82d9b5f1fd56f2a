-- flip: the point of no return. args: user, token, epoch, view, proof ('' for none). Every session that is left rests, for this very epoch.
-- busy: how many do not. doubt: how many changes of the target (touch) are not answered.
if not open(true) then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'flipping' then return OK end
if r.state ~= 'freezing' then return {'refused', r.state} end
if quarantine_left() > 0 then return {'quarantine', text(quarantine_left())} end
if paused() then return {'paused'} end
if is_late(r) then return {'late'} end
if number(r.touching) > 0 then return {'doubt', r.touching} end
local busy = 0
for _, s in pairs(sessions(r.user)) do
    if s.mode ~= 'frozen' or s.epoch ~= r.epoch then busy = busy + 1 end
end
if busy > 0 then return {'busy', text(busy)} end
local set = {state = 'flipping', deadline = '0', view = arg(4)}
proof_into(set, arg(5))
change(r, set, 'state')
return OK
