-- freeze: sessions are to come to rest. args: user, token, epoch, budget in ms. Of a group all members', by the call of the last one that
-- asks; wait: there are others that have not asked. Then ok tells how
-- many ms are left: it may have been another's call that began it.
if not open(true) then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local function answer() return r.group == '' and OK or {'ok', text(math.max(0, number(r.deadline) - now()))} end
if r.state == 'freezing' then return answer() end
if r.state ~= 'preparing' then return {'refused', r.state} end
if quarantine_left() > 0 then return {'quarantine', text(quarantine_left())} end
if paused() then return {'paused'} end
if is_late(r) then return {'late'} end
local all, longest = gate(r, 'preparing', arg(4))
if not all then return {'wait', name_mates(longest)} end
for _, m in ipairs(all) do
    if is_late(m) then return {'late'} end
end
local deadline = text(now() + longest)
for _, m in ipairs(all) do change(m, {state = 'freezing', deadline = deadline}, 'state') end
return answer()
