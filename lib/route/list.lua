-- list: which of these accounts are in a state, and have a reason. args: state ('' any), word that the reason begins with ('' any),
-- users. ok: user, state, backend, reason, time of the next try in ms ('0' none) of each that is.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
for i = 3, nargs() do
    local f = try('HMGET', key('route', arg(i)), 'state', 'backend', 'reason', 'next_try') or {}
    local reason = f[3] or ''
    if f[1] and (arg(1) == '' or f[1] == arg(1)) and (arg(2) == '' or string.match(reason, '^[%a_]+') == arg(2)) then
        for _, v in ipairs({arg(i), f[1], f[2] or '', reason, f[4] or '0'}) do out[#out + 1] = v end
    end
end
return out
