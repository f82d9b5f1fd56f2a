-- retire: what these accounts still have to do with a backend. args: backend, what (routes: of accounts with a record; sessions: of
-- those without one; listed: which of these have no record), users. ok: user, kind and detail of each thing: here (state: its mail is
-- there), coming (state: it is on its way there), watched (left so shortly ago that the late watch has not had its time), left, waived
-- (how many waivers), sessions (how many), unknown (no record).
-- flags: no-writes
if not open() then return NOSTORE end
local backend, what, out = arg(1), arg(2), {'ok'}
local told = encode(backend)
local function tell(user, kind, detail) out[#out + 1], out[#out + 2], out[#out + 3] = user, kind, detail end

local function tell_sessions(user)
    local n, values = 0, try('HVALS', key('sessions', user)) or {}
    for i = 1, #values do n = n + (parse_session(values[i]).backend == told and 1 or 0) end
    if n > 0 then tell(user, 'sessions', text(n)) end
end

for i = 3, nargs() do
    local user = arg(i)
    local f = try('HMGET', key('route', user), 'backend', 'state', 'source', 'target', 'left') or {}
    local at, state, source, target, left = f[1], f[2] or '', f[3] or '', f[4] or '', f[5] or ''
    if what == 'listed' then
        if not at then tell(user, 'unknown', '') end
    elseif what == 'sessions' then
        if not at then tell_sessions(user) end
    elseif at then
        if left == '' and at == target then left = source end
        if at == backend then
            tell(user, 'here', state)
        elseif target == backend and UNDER_WAY[state] then
            tell(user, 'coming', state)
        elseif left == backend then
            tell(user, state == 'flipped' and 'watched' or 'left', state)
        end
        if at == backend or left == backend then
            local n = number(try('HLEN', key('waivers', user)))
            if n > 0 then tell(user, 'waived', text(n)) end
        end
        tell_sessions(user)
    end
end
return out
