-- enqueue: staff want an account moved. args: user, who, reason, source, target, bulk, force, back, home, now
-- (switched over as soon as it is copied, as now.lua would say; else it might be blocked before that is heard).
-- ok: the state; one that is under way to the same target already stays as it is, but that a paused wave holds it no more: what
-- staff name goes.
if not open() then return NOSTORE end
local r = route(arg(1), arg(9))
local source, target, bulk, force = arg(4), arg(5), arg(6) == '1', arg(7) == '1'
local mark = staff_mark('enqueue', arg(2), arg(3), source, target, arg(7), arg(8))
if r.staff == mark then return {'ok', r.state} end
if UNDER_WAY[r.state] and r.source == source and r.target == target and (not force or r.force == '1') then
    local waits = r.state == 'queued' and (r.parked ~= '' or (r.bulk == '1' and not bulk))
    local set = waits and push(r, bulk) or {}
    if wave_paused(r.wave) then set.wave = '' end
    if next(set) then change(r, set, set.state and 'state') end
    return {'ok', r.state}
end
local from = set_of('resting', 'backoff', 'blocked', 'flipped', 'settled')
if force then from = set_of('resting', 'backoff', 'blocked', 'queued', 'copying', 'ready', 'flipped', 'settled') end
if not from[r.state] then return {'refused', r.state} end
if r.backend ~= source or source == target or target == '' then return {'refused', r.state .. ' on ' .. r.backend} end
if r.group ~= '' and (force or arg(8) == '1') then return {'refused', 'in the group ' .. r.group} end
local before = r.state
local set = push(r, bulk)
set.source, set.target, set.force, set.back = source, target, arg(7) == '1' and '1' or '', arg(8) == '1' and '1' or ''
set.attempts, set.failed, set.now, set.waits, set.staff = '0', '', arg(10) == '1' and '1' or '', '0', mark
set.died, set.died_late, set.wave = '', '', waved(r, '')
for _, f in ipairs({'mailboxes', 'messages', 'bytes'}) do set[f .. '_done'], set[f .. '_total'] = '0', '0' end
set.messages_verified, set.tiers = '0', ''
change(r, set, 'state')
audit(arg(2), force and 'enqueue --force' or 'enqueue', r.user, arg(3), before .. ' ' .. source,
      r.state .. ' ' .. target)
if r.now == '1' then audit(arg(2), 'now', r.user, arg(3), r.state, r.state) end
return {'ok', r.state}
