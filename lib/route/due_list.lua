-- due_list: accounts whose time has come, and those that were parked in a wave which is paused no more. args: how many at most.
-- ok: their names.
-- flags: no-writes
if not open() then return NOSTORE end
local out, left = {'ok'}, number(arg(1))
local function take(users)
    for i = 1, #users do out[#out + 1] = users[i] end
    left = left - #users
end
take(call('ZRANGEBYSCORE', LATER, '-inf', now_text(), 'LIMIT', '0', text(left)))
for _, wave in ipairs(call('SMEMBERS', prefix .. 'parked')) do
    if left > 0 and not wave_paused(wave) then take(call('ZRANGE', prefix .. 'parked:' .. wave, '0', text(left - 1))) end
end
return out
