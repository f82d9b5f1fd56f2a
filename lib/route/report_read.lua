-- report_read: the report of an account's last pass; one row, or none. args: user.
-- flags: no-writes
if not open() then return NOSTORE end
local text = call('GET', key('report', arg(1)))
return text and {'ok', text} or OK
