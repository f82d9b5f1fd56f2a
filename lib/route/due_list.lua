-- due_list: accounts whose time has come. args: how many at most. ok: their names.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
local users = call('ZRANGEBYSCORE', LATER, '-inf', now_text(), 'LIMIT', '0', arg(1))
for i = 1, #users do out[i + 1] = users[i] end
return out
