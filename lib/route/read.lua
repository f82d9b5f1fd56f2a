-- read: the route, and nothing is written: the name may be anything that somebody typed. args: user.
-- ok: generation, now, then the fields (none: no record). A freeze of an older generation is shown as it will be found.
-- flags: no-writes
if not open() then return NOSTORE end
local flat = call('HGETALL', key('route', arg(1)))
local f = {}
for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
local out = {'ok', stamp(), now_text()}
local thawed = #flat > 0 and f.generation ~= stamp() and may_thaw(f)
if thawed then f.state, f.deadline, f.reason = 'ready', '0', 'store: Redis restarted or failed over' end
for k, v in pairs(f) do out[#out + 1], out[#out + 2] = k, v end
return out
