-- move: staff close this store, since its accounts are about to be carried to other ones (carry_read.lua, carry.lua). From then on it is
-- none for any program, of whichever release: its record is PREFIX:store:moved, and all else stays as it is, for the way back
-- (reopen.lua). args: 1 also where proxies or migrators seem to be at work.
-- refused: how many accounts are in their switch-over; which proxies and migrators have not fallen silent.
if not open(true) then
    if call('HGET', STORE .. ':moved', 'id') == ARGV[1] and ARGV[1] ~= '' then return OK end
    return NOSTORE
end
local switching, live = 0, {}
for _, group in ipairs(call('SMEMBERS', GROUPS)) do
    local state = string.match(group, '^%l+')
    if state == 'preparing' or state == 'freezing' or state == 'flipping' then switching = switching + call('ZCARD', prefix .. 'in:' .. group) end
end
if switching > 0 then return {'refused', text(switching) .. ' accounts are being switched over'} end
local living = call('HGETALL', prefix .. 'instances')
for i = 1, #living, 2 do
    local told = string.match(living[i + 1], '^%S+ (%d+)')
    if told and number(told) + 12000 > now() then live[#live + 1] = living[i] .. ' is at work' end
end
if #live > 0 and arg(1) ~= '1' then return {'refused', table.concat(live, ', ')} end
event(NOBODY, 'generation') -- whoever is at work all the same says hello, and finds no store
local record = call('HGETALL', STORE)
call('DEL', STORE .. ':moved')
call('HSET', STORE .. ':moved', unpack(record))
call('DEL', STORE)
return OK
