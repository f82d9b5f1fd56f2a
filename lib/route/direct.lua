-- direct: which of these accounts do proxies rewrite something for? args: the backend to which all go, users. ok: user and kind of each
-- that was ever switched over, or has never lived elsewhere: plain (its clients see the server as it is), seen (they see names or numbers of
-- the server before); and of all others with a record: unmoved.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
for i = 2, nargs() do
    local f = try('HMGET', key('route', arg(i)), 'backend', 'view', 'flipped_at', 'home') or {}
    local view = f[2] or ''
    if f[1] then
        local moved = f[1] ~= f[4] and number(f[3]) > 0 or f[1] == arg(1) and (f[4] or f[1]) == f[1] and number(f[3]) == 0
        local plain = view == '' or string.sub(view, 1, 2) == '1='
        out[#out + 1], out[#out + 2] = arg(i), not moved and 'unmoved' or plain and 'plain' or 'seen'
    end
end
return out
