-- freeze: sessions are to come to rest. args: user, token, epoch, budget in ms.
if not open(true) then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'freezing' then return OK end
if r.state ~= 'preparing' then return {'refused', r.state} end
if quarantine_left() > 0 then return {'quarantine', text(quarantine_left())} end
if paused() then return {'paused'} end
if is_late(r) then return {'late'} end
change(r, {state = 'freezing', deadline = text(now() + number(arg(4)))}, 'state')
return OK
