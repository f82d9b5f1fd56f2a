-- touch: the owner is about to change what is on the target, by commands that undo what a client does there if they are
-- executed late. args: user, token, epoch, record id, ms that such a command may take, entry of that record's ledger. As long
-- as not all are answered the account is not frozen and not flipped (prepare, flip), whoever owns it: see touched, calm.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local list = key('ledger', r.user) .. ':' .. arg(4)
if call('LINDEX', list, -1) == arg(6) then return OK end
call('RPUSH', list, arg(6))
local ms = number(r.touching) > 0 and math.max(number(r.touch_ms), number(arg(5))) or number(arg(5))
call('HSET', key('route', r.user), 'touching', text(number(r.touching) + 1), 'touch_ms', text(ms))
return OK
