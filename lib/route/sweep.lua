-- sweep: takes the registrations away that a proxy left behind which was watched in silence, as evict.lua does, of many
-- accounts. args: incarnation, the counter watched, generation, users. again: it moved.
-- ok: how many accounts could not be seen to, since they stand still for their switch-over.
-- flags: allow-oom
if not open() then return NOSTORE end
if arg(3) ~= stamp() then return {'lost', 'generation'} end
local counter = proxy(arg(1)).counter
if counter ~= arg(2) then return {'again', counter} end
local left = 0
for i = 4, nargs() do
    local readable = try('HLEN', key('sessions', arg(i))) and try('HLEN', key('route', arg(i)))
    local gone, n = readable and sessions(arg(i), arg(1)) or {}, 0
    if next(gone) then
        local r = route(arg(i))
        if FROZEN[r.state] then
            left = left + 1
        else
            for name in pairs(gone) do n = n + call('HDEL', key('sessions', r.user), name) end
            if n > 0 then event(r, 'evicted') end
        end
    end
end
return {'ok', text(left)}
