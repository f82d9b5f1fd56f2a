-- late_list: accounts whose left server is to be looked at by now. args: how many at most. ok: their names.
if not open() then return NOSTORE end
local out = {'ok'}
local users = call('ZRANGEBYSCORE', prefix .. 'late', '-inf', text(now()), 'LIMIT', '0', arg(1))
for i = 1, #users do out[i + 1] = users[i] end
return out
