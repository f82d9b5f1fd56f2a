-- abort: the owner gives up an attempt to cut over. args: user, token, epoch, reason.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
if r.state == 'ready' then
    leave_gate(r)
    return OK
end
if not may_thaw(r) then return {'refused', r.state} end
thaw(r, arg(4))
return OK
