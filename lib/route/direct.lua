-- direct: which of these accounts do proxies rewrite something for? args: users. ok: user and kind of each that was ever switched over:
-- plain (its clients see the server as it is), seen (they see names or numbers of the server before); and of all others with a record:
-- unmoved.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
for i = 1, nargs() do
    local f = try('HMGET', key('route', arg(i)), 'backend', 'view', 'flipped_at', 'home') or {}
    local view = f[2] or ''
    if f[1] then
        local moved = number(f[3]) > 0 and f[1] ~= f[4]
        local plain = view == '' or string.sub(view, 1, 2) == '1='
        out[#out + 1], out[#out + 2] = arg(i), not moved and 'unmoved' or plain and 'plain' or 'seen'
    end
end
return out
