-- waves_read: what the store knows of waves. ok: now, then the fields of PREFIX:waves (head.lua) as pairs, and "NAME:parked" with how
-- many accounts wait for the end of the pause.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok', now_text()}
for _, v in ipairs(try('HGETALL', WAVES) or {}) do out[#out + 1] = v end
for _, wave in ipairs(call('SMEMBERS', prefix .. 'parked')) do
    out[#out + 1], out[#out + 2] = wave .. ':parked', text(call('ZCARD', prefix .. 'parked:' .. wave))
end
return out
