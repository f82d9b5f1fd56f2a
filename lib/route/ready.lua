-- ready: copied and verified. args: user, token, epoch. ok: how many migrators have died with it. Those that did while it was
-- copied count no more: each mailbox has been read and compared since. Those that did later do until it is flipped.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'ready' then return {'ok', text(died_of(r))} end
if r.state ~= 'copying' then return {'refused', r.state} end
change(r, {state = 'ready', reason = '', died = r.died_late == '1' and r.died or ''}, 'state')
return {'ok', text(died_of(r))}
