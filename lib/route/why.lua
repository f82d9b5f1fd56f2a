-- why: the owner says what the account waits for at this moment, or that it waits no more (''). args: user, token, epoch, text. No
-- event: nobody acts on it.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state ~= 'copying' and r.state ~= 'ready' then return {'refused', r.state} end
if r.reason ~= arg(4) then change(r, {reason = arg(4)}) end
return OK
