-- evict: takes the registrations of a proxy away that was watched in silence. args: user, incarnation, the counter
-- watched ('' none), generation. again: it moved. Not in a freeze: that ends in a thaw.
-- flags: allow-oom
if not open() then return NOSTORE end
local r = route(arg(1))
if arg(4) ~= stamp() then return {'lost', 'generation'} end
if FROZEN[r.state] then return {'refused', r.state} end
local counter = proxy(arg(2)).counter
if counter ~= arg(3) then return {'again', counter} end
local n = 0
for name in pairs(sessions(r.user, arg(2))) do n = n + call('HDEL', key('sessions', r.user), name) end
if n > 0 then event(r, 'evicted') end
return {'ok', text(n)}
