-- reconcile: takes away what an incarnation registered and has no session for. args: user, incarnation, epoch, generation,
-- its sessions. Only in the very `preparing` that it heard of, and only what was registered before that: what a connection
-- that stood still delivers later must not take away a session that was registered over another one meanwhile.
-- ok: how many it leaves for that reason, how many it took away.
-- flags: allow-oom
if not open() then return NOSTORE end
local r = route(arg(1))
if arg(4) ~= stamp() or r.state ~= 'preparing' or r.epoch ~= arg(3) then return {'lost', r.state} end
local has, n, kept = {}, 0, 0
for i = 5, nargs() do has[arg(i)] = true end
for name, s in pairs(sessions(r.user, arg(2))) do
    if not has[name] and number(s.since) < number(r.prepared) then
        n = n + call('HDEL', key('sessions', r.user), name)
    elseif not has[name] then
        kept = kept + 1
    end
end
if n > 0 then event(r, 'left') end
return {'ok', text(kept), text(n)}
