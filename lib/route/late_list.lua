-- late_list: accounts whose left server is to be looked at by now, those in their set time first. args: how many at most.
-- ok: their names.
-- flags: no-writes
if not open() then return NOSTORE end
local out, left = {'ok'}, number(arg(1))
for _, set in ipairs({LATE, DAILY}) do
    local users = left > 0 and call('ZRANGEBYSCORE', set, '-inf', now_text(), 'LIMIT', '0', text(left)) or {}
    for i = 1, #users do out[#out + 1] = users[i] end
    left = left - #users
end
return out
