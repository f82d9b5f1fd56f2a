-- sharing_move: staff want a group moved: forward, or back. args: its name, who, reason, rev (as it was read), target, 1 for at once
-- (now.lua), backends that are retired (each with a blank before and behind it), then pairs of a member and 1 where it goes back.
-- All or none are queued; one that is on the target, or on its way there, stays as it is. ok: how many are queued, or on their way.
-- refused: why, as the end of a sentence that begins with the group.
if not open() then return NOSTORE end
local name, who, reason, rev, target, at_once = args()
if call('HGET', group_key(name), 'rev') ~= rev then return {'refused', 'has changed meanwhile, or is not known'} end
local FROM = set_of('resting', 'backoff', 'blocked', 'flipped', 'settled')
local list, n, mark = {}, 0, staff_mark('sharing_move', who, reason, target)
local function retired(backend) return string.find(arg(7), ' ' .. backend .. ' ', 1, true) end
if retired(target) then return {'refused', 'is not moved to ' .. target .. ', which is retired'} end
for i = 8, nargs() - 1, 2 do
    local r = route(arg(i))
    local rests_there = r.backend == target and not UNDER_WAY[r.state] and r.state ~= 'held'
    local on_its_way = UNDER_WAY[r.state] and r.target == target and r.backend ~= target
    if r.group ~= name then return {'refused', 'has changed meanwhile'} end
    if not rests_there then
        if not on_its_way and not FROM[r.state] then
            return {'refused', 'is not moved: ' .. r.user .. ' is ' .. r.state .. ' on ' .. r.backend}
        end
        if retired(r.backend) then return {'refused', 'is not moved: ' .. r.user .. ' is on ' .. r.backend .. ', which is retired'} end
        list[#list + 1] = {r = r, back = arg(i + 1), on_its_way = on_its_way}
    end
end
for _, one in ipairs(list) do
    local r, before, set = one.r, one.r.state, {}
    n = n + 1
    if not one.on_its_way then
        set = push(r, false)
        set.source, set.target, set.force, set.back = r.backend, target, '', one.back == '1' and '1' or ''
        set.attempts, set.failed, set.now, set.waits = '0', '', at_once == '1' and '1' or '', '0'
        set.died, set.died_late, set.wave = '', '', waved(r, '')
        for _, f in ipairs({'mailboxes', 'messages', 'bytes'}) do set[f .. '_done'], set[f .. '_total'] = '0', '0' end
        set.messages_verified, set.tiers = '0', ''
    elseif at_once == '1' and r.now ~= '1' and WAITS[r.state] then
        if r.state == 'ready' then set = push(r, r.bulk == '1') end
        set.now = '1'
    end
    if next(set) then
        set.staff = mark
        change(r, set, set.state and 'state' or 'now')
        audit(who, at_once == '1' and 'group migrate --now' or 'group migrate', r.user, reason, before .. ' ' .. r.backend,
              r.state .. ' ' .. target)
    end
end
return {'ok', text(n)}
