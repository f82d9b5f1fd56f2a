-- touched: commands that touch was called for have been answered. args: user, token, epoch, record id, entry of its ledger.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local list = key('ledger', r.user) .. ':' .. arg(4)
if call('LINDEX', list, -1) == arg(5) then return OK end
call('RPUSH', list, arg(5))
if number(r.touching) > 0 then
    call('HSET', key('route', r.user), 'touching', text(number(r.touching) - 1))
end
return OK
