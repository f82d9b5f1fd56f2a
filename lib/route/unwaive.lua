-- unwaive: staff take back what they accepted: from the next pass on it stops the account again. args: user, who, reason,
-- keys as they are kept. One that is in its cut-over has to end there first.
if not open() then return NOSTORE end
local r = route(arg(1))
if may_thaw(r) or r.state == 'flipping' then return {'refused', r.state} end
local waivers, gone = key('waivers', r.user), {}
for i = 4, nargs() do
    if call('HDEL', waivers, arg(i)) == 1 then gone[#gone + 1] = arg(i) end
end
if #gone > 0 then
    audit(arg(2), 'unwaive', r.user, table.concat(gone, ', ') .. (arg(3) ~= '' and ': ' .. arg(3) or ''), r.state, r.state)
end
return {'ok', r.state}
