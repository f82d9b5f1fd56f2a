-- reconcile: takes away what an incarnation registered and has no session for. args: user, incarnation, its sessions.
if not open() then return NOSTORE end
local r = route(arg(1))
local has, n = {}, 0
for i = 3, nargs() do has[arg(i)] = true end
for name in pairs(sessions(r.user, arg(2))) do
    if not has[name] then n = n + call('HDEL', key('sessions', r.user), name) end
end
if n > 0 and may_thaw(r) then event(r, 'left') end
return {'ok', text(n)}
