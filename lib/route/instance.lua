-- instance: one process alone has an id: "proxy/ID" or "migrator/ID". args: that name, a token of the process, where it runs (a
-- word), ms after which one that says nothing more is gone, token of one that is known to be gone ('' none), 1 where it ends.
-- PREFIX:instances has "token told place" for each name. taken: token, place, ms until the other would be gone.
if not open() then return NOSTORE end
local INSTANCES = prefix .. 'instances'
local function parse(v)
    local token, told, place = string.match(v or '', '^(%S+) (%d+) (%S+)')
    return token, number(told), place
end
local token, told, place = parse(call('HGET', INSTANCES, arg(1)))
local left = math.min(told + number(arg(4)) - now(), number(arg(4)))
if token and token ~= arg(2) and token ~= arg(5) and left > 0 then return {'taken', token, place, text(left)} end
if arg(6) == '1' then
    if token == arg(2) then call('HDEL', INSTANCES, arg(1)) end
    return OK
end
if not token then -- what was silent for a day is of no use any more
    local flat = call('HGETALL', INSTANCES)
    for i = 1, #flat, 2 do
        local _, since = parse(flat[i + 1])
        if since + 86400000 < now() then call('HDEL', INSTANCES, flat[i]) end
    end
end
call('HSET', INSTANCES, arg(1), table.concat({arg(2), now_text(), arg(3)}, ' '))
return OK
