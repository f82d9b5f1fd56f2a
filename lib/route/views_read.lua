-- views_read: all view records of an account, in pairs. args: user.
-- flags: no-writes
if not open() then return NOSTORE end
local out, rows = {'ok'}, call('HGETALL', key('views', arg(1)))
for i = 1, #rows do out[i + 1] = rows[i] end
return out
