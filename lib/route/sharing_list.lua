-- sharing_list: the names of the groups. ok: names.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
for _, name in ipairs(try('SMEMBERS', SHARING) or {}) do out[#out + 1] = name end
return out
