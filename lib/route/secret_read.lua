-- secret_read: the sealed credential, if it is there. args: user.
-- flags: no-writes
if not open() then return NOSTORE end
local sealed = call('GET', key('secret', arg(1)))
return sealed and {'ok', sealed} or OK
