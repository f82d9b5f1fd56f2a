-- groups_read: how many accounts are under way or don't get on, by state and by the word that their reason begins with. ok: pairs of
-- "STATE:WORD" and a number.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
for _, group in ipairs(try('SMEMBERS', GROUPS) or {}) do
    local n = try('ZCARD', prefix .. 'in:' .. group) or 0
    if n > 0 then out[#out + 1], out[#out + 2] = group, text(n) end
end
return out
