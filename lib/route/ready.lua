-- ready: copied and verified. args: user, token, epoch.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'ready' then return OK end
if r.state ~= 'copying' then return {'refused', r.state} end
change(r, {state = 'ready', reason = ''}, 'state')
return OK
