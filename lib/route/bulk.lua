-- bulk: an account of a list is to be moved, behind the logins. args: user, run (names this list and this run of it), target,
-- back, home, backends that are retired (each with a blank before and behind it): nobody is moved there, or from there. No audit entry each: the list has one. ok: queued; under_way, there: it was before.
if not open() then return NOSTORE end
local r = route(arg(1), arg(5))
local target, mark = arg(3), staff_mark('bulk', arg(2), arg(3))
if r.staff == mark and r.state == 'queued' then return {'ok', 'queued'} end
local same = r.target == target and r.backend == r.source
if (UNDER_WAY[r.state] or r.state == 'backoff') and same then
    local parked = r.parked ~= ''
    local set = parked and push(r, true) or {}
    if wave_paused(r.wave) then set.wave = '' end -- what staff name goes, whatever its wave waits for
    if next(set) then change(r, set, set.state and 'state') end
    return {'ok', parked and 'queued' or 'under_way'}
end
local rests = r.state == 'resting' or r.state == 'flipped' or r.state == 'settled'
if not rests then return {'refused', r.state} end
if r.backend == target then return {'ok', 'there'} end
local function retired(backend) return string.find(arg(6), ' ' .. backend .. ' ', 1, true) end
if retired(target) then return {'refused', 'not moved to ' .. target .. ', which is retired'} end
if retired(r.backend) then return {'refused', 'on ' .. r.backend .. ', which is retired'} end
if r.group ~= '' and arg(4) == '1' then return {'refused', 'in the group ' .. r.group} end
local set = push(r, true)
set.source, set.target, set.force, set.back, set.now = r.backend, target, '', arg(4) == '1' and '1' or '', ''
set.attempts, set.staff, set.wave = '0', mark, waved(r, '')
for _, f in ipairs({'mailboxes', 'messages', 'bytes'}) do set[f .. '_done'], set[f .. '_total'] = '0', '0' end
set.messages_verified, set.tiers = '0', ''
change(r, set, 'state')
return {'ok', 'queued'}
