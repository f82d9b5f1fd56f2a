-- prepare: a cut-over begins, with an epoch of its own. args: user, token, epoch, budget in ms, 1 where it may only begin while nobody
-- uses the account. ok: the new epoch, and of a group, behind a blank, how many ms are left: it may have been another's call that began
-- it, and 0 is one that was thawed since. Of a group all begin, by the call of the last one that asks; wait: there are others that have
-- not asked. again: one of them can't be waited for here, since it is held, gave up, waits elsewhere ...: who waits at this gate leaves
-- it (gather), as does who is told anything else but wait.
-- lost, too: its wave is paused, so that it has no owner any more; an attempt that has begun goes on.
-- What froze for an earlier attempt runs again by now, or will be told to. The event says how many registrations each
-- incarnation has, "incarnation n" and so on: one that has fewer sessions takes the others away (reconcile).
if not open(true) then return NOSTORE end
local r, mine = job()
local attempt = OWNED[r.state] and r.owner ~= '' and r.owner == arg(2)
local function answer()
    local left = r.state == 'preparing' and math.max(0, number(r.deadline) - now()) or 0
    return {'ok', r.group == '' and r.epoch or r.epoch .. ' ' .. text(left)}
end
if attempt and r.prior ~= '' and r.prior == arg(3) then return answer() end -- also once it was thawed
if not mine then return {'lost', r.state} end
if r.state ~= 'ready' then return {'refused', r.state} end
local function leave(...)
    leave_gate(r)
    return {...}
end
if number(r.touching) > 0 then return leave('doubt', r.touching) end
if quarantine_left() > 0 then return leave('quarantine', text(quarantine_left())) end
if paused() then return leave('paused') end
if wave_paused(r.wave) then
    park(r)
    return {'lost', r.state}
end
local all, longest = gate(r, 'ready', arg(4), arg(5) == '1')
if not all then
    local gone = {}
    for _, m in ipairs(longest) do
        local waits = m.state == 'ready' and m.owner == ''
        if m ~= r and (waits or not at_hand(r, m)) then gone[#gone + 1] = m end
    end
    if #gone > 0 then return leave('again', name_mates(gone)) end
    say_waits(r, longest)
    return {'wait', name_mates(longest)}
end
local deadline = text(now() + longest)
local function begin_with(m)
    local n, registered = {}, {}
    for name, s in pairs(sessions(m.user)) do
        local incarnation = string.match(name, '^(.*)/[^/]*$') or name
        n[incarnation] = (n[incarnation] or 0) + 1
        if s.mode ~= 'running' then
            s.mode = 'running'
            put_session(m.user, name, s)
        end
    end
    for incarnation, count in pairs(n) do registered[#registered + 1] = incarnation .. ' ' .. text(count) end
    m.registered = table.concat(registered, ' ')
    change(m, {state = 'preparing', prior = m.epoch, epoch = text(number(m.epoch) + 1), reason = '',
               prepared = now_text(), deadline = deadline}, 'state')
end
for _, m in ipairs(all) do begin_with(m) end
return answer()
