-- late_claim: a migrator looks at the server that an account has left. args: user, token, lease in ms. Nothing changes but
-- the owner, so whatever else is done with the account takes it away. What stands in `late` is when another may try.
-- ok: generation, now, the fields of the route. refused: not its time, or nothing to look at any more.
if not open() then return NOSTORE end
local r, token = route(arg(1)), arg(2)
if token == '' then return {'refused', 'no token'} end
local due, daily = late_at(r.user), late_is_daily(r.user)
local mine = r.owner == token
if not mine and (due == 0 or now() < due) then return {'refused', 'not due'} end
if UNDER_WAY[r.state] and left_server(r) ~= '' then -- another move, which may be given up
    late_put(r.user, number(arg(3)), daily)
    return {'refused', r.state}
end
if not WATCHED[r.state] or left_server(r) == '' then
    late_drop(r.user)
    return {'refused', r.state}
end
if paused() then return {'paused'} end
if not mine then change(r, {owner = token}) end
late_put(r.user, number(arg(3)), daily)
local out, flat = {'ok', stamp(), now_text()}, call('HGETALL', key('route', r.user))
for i = 1, #flat do out[#out + 1] = flat[i] end
return out
