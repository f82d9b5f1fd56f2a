-- waivers_read: what staff have waived of an account, in pairs of key and JSON (who, when, why). args: user.
-- flags: no-writes
if not open() then return NOSTORE end
local out, rows = {'ok'}, call('HGETALL', key('waivers', arg(1)))
for i = 1, #rows do out[i + 1] = rows[i] end
return out
