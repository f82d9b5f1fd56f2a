-- now: staff want the cut-over of an account that is being copied, whatever the policy says. args: user, who, reason.
if not open() then return NOSTORE end
local r = route(arg(1))
if r.now == '1' and UNDER_WAY[r.state] then return {'ok', r.state} end
if r.state ~= 'queued' and r.state ~= 'copying' and r.state ~= 'ready' then return {'refused', r.state} end
change(r, {now = '1'}, 'now')
audit(arg(2), 'now', r.user, arg(3), r.state, r.state)
return {'ok', r.state}
