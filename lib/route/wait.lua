-- wait: a copied account waits for its time (window, idle) without a job. args: user, token, epoch, reason, ms, 1 where it
-- waits until nobody uses it: then ms is the longest time until the next pass. It stays ready, and is queued again then. ms 0:
-- until staff say so.
-- again: now (staff said so, also to one of its group that waits for it), idle (nobody uses it).
if not open() then return NOSTORE end
local r, mine = job()
if gave_up(r, 'ready') and r.epoch == arg(3) then return OK end
if not mine then return {'lost', r.state} end
if r.state ~= 'ready' then return {'refused', r.state} end
for _, m in ipairs(r.now ~= '1' and mates(r) or {}) do -- what staff said to one that waits for it
    if m.gather == 'in' and m.now == '1' and r.now ~= '1' then change(r, {now = '1'}) end
end
if r.now == '1' then return {'again', 'now'} end
local delay, pass_at = number(arg(5)), '0'
if arg(6) == '1' then
    local left = busy_left(r.user)
    if left == 0 then return {'again', 'idle'} end
    pass_at, delay = text(now() + delay), math.min(delay, left)
end
local at, since = '0', r.waits ~= '0' and r.waits or now_text()
if delay > 0 then
    at = text(now() + delay)
    call('ZADD', LATER, at, r.user)
end
change(r, {owner = '', last_owner = r.owner, reason = arg(4), next_try = at, pass_at = pass_at,
           waits = delay > 0 and since or r.waits}, 'state')
return OK
