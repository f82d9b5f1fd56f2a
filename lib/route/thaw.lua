-- thaw: ends a freeze whose deadline passed; by anybody. args: user.
if not open() then return NOSTORE end
local r = route(arg(1))
if not may_thaw(r) or not is_late(r) then return {'refused', r.state} end
thaw(r, 'deadline: the freeze took longer than its budget')
return OK
