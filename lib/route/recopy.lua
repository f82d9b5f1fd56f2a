-- recopy: from ready back to copying. args: user, token, epoch.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'copying' then return OK end
if r.state ~= 'ready' then return {'refused', r.state} end
change(r, {state = 'copying', reason = ''}, 'state') -- what it waited for, or what ended an attempt, is over
return OK
