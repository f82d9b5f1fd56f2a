-- caps: what a backend can do, as a sign-in showed it (../store_caps.h). args: its name; its capabilities, what all sign-ins had
-- in common, and since when, as they were read ('' where there was nothing); the same three as they are to be; by whom.
-- changed: somebody was quicker.
if not open() then return NOSTORE end
local BACKENDS, name = prefix .. 'backends', arg(1)
local fields = {name, name .. '/common', name .. '/since'}
local is = call('HMGET', BACKENDS, unpack(fields))
for i = 1, 3 do
    if (is[i] or '') ~= arg(1 + i) then return {'changed'} end
end
call('HSET', BACKENDS, fields[1], arg(5), fields[2], arg(6), fields[3], arg(7), name .. '/by', arg(8))
return OK
