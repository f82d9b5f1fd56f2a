-- history_read: what sample.lua has noted. args: since when in ms by Redis' clock, how many points at most. From the list of minutes
-- where that goes back so far, else from that of hours. ok: now in ms, then the points, the oldest first and the last one among them.
-- flags: no-writes
if not open() then return NOSTORE end
local since, most, out = number(arg(1)), math.max(2, math.min(number(arg(2)), 2000)), {'ok', now_text()}
local function begins(list) return number(string.match(call('LINDEX', list, '0') or '', '^%d+')) end
local hours = HISTORY .. ':hours'
local list = HISTORY
if since < begins(HISTORY) and begins(hours) > 0 and begins(hours) < begins(HISTORY) then list = hours end
local all, from = call('LRANGE', list, '0', '-1'), 1
while from <= #all and number(string.match(all[from], '^%d+')) < since do from = from + 1 end
local step = math.max(1, math.ceil((#all - from + 1) / most))
for i = #all - step * floor((#all - from) / step), #all, step do out[#out + 1] = all[i] end
return out
