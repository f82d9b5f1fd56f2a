-- gather: a member of a group is copied. args: user, token, epoch, 1 where the group may only be switched over while nobody uses it.
-- ok: others are not; it waits for them, ready, without an owner, so that it takes no place of theirs. again: all are; those that
-- wait so are queued once more, ahead of others, for a short pass before the switch-over, which begins for all together (prepare.lua).
-- again alone: it is in no group any more.
-- Members that rest where this one came from are queued, since who moves one moves all.
if not open(true) then return NOSTORE end
local r, mine = job()
if gave_up(r, 'ready') and r.epoch == arg(3) then return OK end
if not mine then return {'lost', r.state} end
if r.state ~= 'ready' then return {'refused', r.state} end
if r.group == '' then return {'again', 'alone'} end
if paused() then return {'paused'} end
if quarantine_left() > 0 then return {'quarantine', text(quarantine_left())} end
local missing, ready, busy = {}, {}, busy_left(r.user)
for _, m in ipairs(mates(r)) do
    busy = math.max(busy, busy_left(m.user))
    if RESTS[m.state] and m.backend == r.backend then
        change(m, push_with(r, m), 'state')
        audit(r.at ~= '' and r.at or 'migrator', 'enqueue', m.user, 'moves with ' .. r.user .. ' (group ' .. r.group .. ')',
              'resting ' .. r.source, m.state .. ' ' .. r.target)
    end
    if not is_there(r, m) then
        if not at_hand(r, m) then missing[#missing + 1] = m elseif m.owner == '' and m.state == 'ready' then ready[#ready + 1] = m end
    end
end
local function rest(reason, at)
    if at ~= '0' then call('ZADD', LATER, at, r.user) end
    change(r, {owner = '', last_owner = r.owner, gather = 'in', gate = '', reason = reason, next_try = at}, 'state')
    return OK
end
if #missing > 0 then return rest('group: waits for ' .. name_mates(missing), '0') end
if arg(4) == '1' and r.now ~= '1' and busy > 0 then
    return rest('idle: waits until no account of the group ' .. r.group .. ' is in use', text(now() + math.max(busy, 10000)))
end
for _, m in ipairs(ready) do
    local set = push(m, false)
    set.gather = 'go'
    if r.now == '1' then set.now = '1' end
    change(m, set, 'state')
end
change(r, {gather = 'go', gate = ''})
return {'again', 'go'}
