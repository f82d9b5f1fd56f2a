-- wait: a copied account waits for its time (window, idle) without a job. args: user, token, epoch, reason, ms. It stays
-- ready, and is queued again then.
if not open() then return NOSTORE end
local r, mine = job()
if gave_up(r, 'ready') and r.epoch == arg(3) then return OK end
if not mine then return {'lost', r.state} end
if r.state ~= 'ready' then return {'refused', r.state} end
if r.now == '1' then return {'again', 'now'} end
local at = text(now() + number(arg(5)))
call('ZADD', LATER, at, r.user)
change(r, {owner = '', last_owner = r.owner, reason = arg(4), next_try = at}, 'state')
return OK
