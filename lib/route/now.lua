-- now: staff want the cut-over of an account that is being copied, whatever the policy says. args: user, who, reason.
-- Nor does a paused wave hold it any more.
-- One that is ready may wait for this very word without a job (cutover = manual): it is queued again.
if not open() then return NOSTORE end
local r = route(arg(1))
if r.now == '1' and UNDER_WAY[r.state] and not wave_paused(r.wave) then return {'ok', r.state} end
if r.state ~= 'queued' and r.state ~= 'copying' and r.state ~= 'ready' then return {'refused', r.state} end
local before, set = r.state, {}
if r.state == 'ready' or r.parked ~= '' then set = push(r, r.bulk == '1') end
set.now = '1'
if wave_paused(r.wave) then set.wave = '' end
change(r, set, set.state and 'state' or 'now')
audit(arg(2), 'now', r.user, arg(3), before, r.state)
return {'ok', r.state}
