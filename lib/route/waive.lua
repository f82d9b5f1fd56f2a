-- waive: staff accept what is found of an account: from the next pass on it stops nothing. args: user, who, reason, keys.
-- One that is blocked, or in backoff for a difference, is queued again. An account without a record may be waived for too.
if not open() then return NOSTORE end
local r = route(arg(1))
local waivers, value = key('waivers', r.user), cjson.encode({who = arg(2), when = now_text(), why = arg(3)})
local more = 0
for i = 4, nargs() do more = more + 1 - call('HEXISTS', waivers, arg(i)) end
if call('HLEN', waivers) + more > 10000 then return {'refused', 'full of waivers'} end
local named, before = {}, r.state
for i = 4, nargs() do
    if call('HSETNX', waivers, arg(i), value) == 1 then named[#named + 1] = arg(i) end
end
if r.state == 'blocked' or (r.state == 'backoff' and string.sub(r.reason, 1, 7) == 'differs') then
    local set = push(r, r.bulk == '1')
    set.attempts, set.died, set.died_late = '0', '', ''
    change(r, set, 'state')
end
if #named > 0 then audit(arg(2), 'waive', r.user, table.concat(named, ', ') .. ': ' .. arg(3), before, r.state) end
return {'ok', r.state}
