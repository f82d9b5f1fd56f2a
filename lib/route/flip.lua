-- flip: the point of no return. args: user, token, epoch, view, proof ('' for none). Every session that is left rests, for this very epoch.
-- busy: how many do not. doubt: how many changes of the target (touch) are not answered.
-- A member of a group says by it that it is verified, in this attempt; wait: others have not said so. The call of the last one moves
-- all of them: this is their common point of no return, and the one script that changes several accounts' states forward.
if not open(true) then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'flipping' then return OK end
if r.state ~= 'freezing' then return {'refused', r.state} end
if quarantine_left() > 0 then return {'quarantine', text(quarantine_left())} end
if paused() then return {'paused'} end
if is_late(r) then return {'late'} end
if number(r.touching) > 0 then return {'doubt', r.touching} end
local busy = restless(r)
if busy > 0 then return {'busy', text(busy)} end
local function go(m, view, proof)
    local set = {state = 'flipping', deadline = '0', view = view}
    proof_into(set, proof)
    change(m, set, 'state')
end
if r.group == '' then
    go(r, arg(4), arg(5))
    return OK
end
if r.voice ~= r.epoch or r.voice_view ~= arg(4) or r.voice_proof ~= arg(5) then
    change(r, {voice = r.epoch, voice_view = arg(4), voice_proof = arg(5)})
end
local all, missing = mates(r), {}
for _, m in ipairs(all) do
    local said = m.state == 'freezing' and m.voice == m.epoch and m.target == r.target and number(m.touching) == 0
    if not is_there(r, m) and (not said or restless(m) > 0 or is_late(m)) then missing[#missing + 1] = m end
end
if #missing > 0 then return {'wait', name_mates(missing)} end
for _, m in ipairs(all) do
    if not is_there(r, m) then go(m, m.voice_view, m.voice_proof) end
end
go(r, arg(4), arg(5))
return OK
