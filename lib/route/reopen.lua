-- reopen: staff take back that this store was moved (move.lua): it is as it was, with a quarantine, since nobody knows who was at work
-- meanwhile. args: how long that has to last at least, in ms. Repeated, it finds it open. refused: there is no such store.
look_at_store()
if S.id ~= '' then return OK end
local record = call('HGETALL', STORE .. ':moved')
if #record == 0 then return {'refused', 'not moved'} end
call('HSET', STORE, unpack(record))
call('DEL', STORE .. ':moved')
look_at_store()
S.generation = math.max(S.generation + 1, now())
call('HSET', STORE, 'generation', stamp())
quarantine(now(), math.max(number(arg(1)), S.quarantine, S.longest))
event(NOBODY, 'generation')
return OK
