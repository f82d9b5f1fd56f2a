-- control_read: is the brake on? ok: 1 or 0, by whom, why, since when.
-- flags: no-writes
if not open() then return NOSTORE end
local f = brake_read()
return {'ok', f[1] or '0', f[2] or '', f[3] or '', f[4] or '0'}
