-- turn: may one more account be cut over now? args: user, how many a minute (0: any number). ok; late: not yet, ms to wait.
if not open() then return NOSTORE end
local max, flips, at = number(arg(2)), prefix .. 'flips', now()
if max == 0 then return OK end
call('ZREMRANGEBYSCORE', flips, '-inf', text(at - 60000))
if call('ZSCORE', flips, arg(1)) then return OK end
if call('ZCARD', flips) >= max then
    local first = call('ZRANGE', flips, 0, 0, 'WITHSCORES')
    return {'late', text(math.max(1, number(first[2]) + 60000 - at))}
end
call('ZADD', flips, text(at), arg(1))
return OK
