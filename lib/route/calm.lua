-- calm: the owner has no command under way at the target, and those that former owners (or it itself, on connections that
-- broke) had are executed or will never be: their connections were closed there, or their time is over. args: user, token,
-- epoch. What they were stays in the ledgers, and `doubted` lets the late watch look at it.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if number(r.touching) > 0 then
    call('HSET', key('route', r.user), 'touching', '0', 'touch_ms', '0', 'doubted', '1')
end
return OK
