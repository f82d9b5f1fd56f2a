-- release: from held to where it was; what was under way is queued again. args: user, who, reason.
-- So is one that rests, and that others of its group wait for (gather.lua): they have no owner who would see that it may go.
if not open() then return NOSTORE end
local r = route(arg(1))
local mark = staff_mark('release', arg(2), arg(3))
if r.staff == mark then return {'ok', r.state} end
if r.state ~= 'held' then return {'refused', r.state} end
local set
if UNDER_WAY[r.held_from] or r.held_from == 'backoff' then
    set = push(r, r.bulk == '1')
else
    set = {state = r.held_from ~= '' and r.held_from or 'resting', reason = r.held_reason, held_from = '',
           last_owner = ''}
end
for _, m in ipairs(RESTS[set.state] and mates(r) or {}) do
    if RESTS[set.state] and m.gather == 'in' and m.source == r.backend and m.backend == r.backend then set = push_with(m, r) end
end
set.held_reason, set.died, set.died_late, set.staff = '', '', '', mark
change(r, set, 'state')
audit(arg(2), 'release', r.user, arg(3), 'held', r.state)
return {'ok', r.state}
