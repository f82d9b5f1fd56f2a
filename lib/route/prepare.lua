-- prepare: a cut-over begins, with an epoch of its own. args: user, token, epoch, budget in ms. ok: the new epoch.
-- lost, too: its wave is paused, so that it has no owner any more; an attempt that has begun goes on.
-- What froze for an earlier attempt runs again by now, or will be told to. The event says how many registrations each
-- incarnation has, "incarnation n" and so on: one that has fewer sessions takes the others away (reconcile).
if not open(true) then return NOSTORE end
local r, mine = job()
local attempt = OWNED[r.state] and r.owner ~= '' and r.owner == arg(2)
if attempt and r.prior ~= '' and r.prior == arg(3) then return {'ok', r.epoch} end -- also once it was thawed
if not mine then return {'lost', r.state} end
if r.state ~= 'ready' then return {'refused', r.state} end
if number(r.touching) > 0 then return {'doubt', r.touching} end
if quarantine_left() > 0 then return {'quarantine', text(quarantine_left())} end
if paused() then return {'paused'} end
if wave_paused(r.wave) then
    park(r)
    return {'lost', r.state}
end
local n, registered = {}, {}
for name, s in pairs(sessions(r.user)) do
    local incarnation = string.match(name, '^(.*)/[^/]*$') or name
    n[incarnation] = (n[incarnation] or 0) + 1
    if s.mode ~= 'running' then
        s.mode = 'running'
        put_session(r.user, name, s)
    end
end
for incarnation, count in pairs(n) do registered[#registered + 1] = incarnation .. ' ' .. text(count) end
r.registered = table.concat(registered, ' ')
change(r, {state = 'preparing', prior = r.epoch, epoch = text(number(r.epoch) + 1), reason = '',
           prepared = now_text(),
           deadline = text(now() + number(arg(4)))}, 'state')
return {'ok', r.epoch}
