-- seen: an incarnation knows the account's epoch. args: user, incarnation, epoch, generation.
-- A session that was frozen for an older epoch is not frozen for this one.
if not open() then return NOSTORE end
local r = route(arg(1))
if arg(4) ~= stamp() or not r.exists or number(arg(3)) > number(r.epoch) then return {'lost', r.state} end
local some = false
for name, s in pairs(sessions(r.user, arg(2))) do
    if number(s.epoch) < number(arg(3)) then
        s.epoch, s.mode, some = arg(3), 'running', true
        put_session(r.user, name, s)
    end
end
if some then event(r, 'seen') end
return OK
