-- block: the owner gives the job up until a person decides. args: user, token, epoch, reason.
if not open() then return NOSTORE end
local r, mine = job()
if gave_up(r, 'blocked') and r.epoch == arg(3) then return OK end
if not mine then return {'lost', r.state} end
if r.state ~= 'copying' and r.state ~= 'ready' then return {'refused', r.state} end
change(r, {state = 'blocked', reason = arg(4), failed = arg(4), owner = '', last_owner = r.owner,
           attempts = text(number(r.attempts) + 1)}, 'state')
return OK
