-- calm: the owner has no command under way at the target, and those that former owners (or it itself, on connections that
-- broke) had are executed or will never be: their connections were closed there, or their time is over. args: user, token,
-- epoch. What they were stays in the ledgers, for the late watch.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
call('HSET', key('route', r.user), 'touching', '0', 'touch_ms', '0')
return OK
