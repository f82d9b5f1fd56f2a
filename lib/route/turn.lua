-- turn: may one more account be cut over now? args: user, how many a minute (0: any number). ok; late: not yet, ms to wait.
-- Of a group all have the turn of the first one that asks, and count: who came one a minute would never be together.
if not open() then return NOSTORE end
local max, flips, at = number(arg(2)), prefix .. 'flips', now()
if max == 0 then return OK end
call('ZREMRANGEBYSCORE', flips, '-inf', text(at - 60000))
local r = look(arg(1))
local who = r.group ~= '' and 'group ' .. r.group or r.user
if call('ZSCORE', flips, who) then return OK end
if call('ZCARD', flips) >= max then
    local first = call('ZRANGE', flips, 0, 0, 'WITHSCORES')
    return {'late', text(math.max(1, number(first[2]) + 60000 - at))}
end
call('ZADD', flips, text(at), who)
for _, m in ipairs(mates(r)) do
    if not is_there(r, m) then call('ZADD', flips, text(at), who .. ' ' .. m.user) end
end
return OK
