-- backoff: the owner gives the job up for a while. args: user, token, epoch, reason, delay in ms (0: until a login), 1 where it is
-- a backend that refuses everybody, so that it is no attempt of this account, and how the sealed credential begins by which it
-- was tried ("-": there was none; none: it does not matter). Where a login has brought another one meanwhile, no further login is waited for.
if not open() then return NOSTORE end
local r, mine = job()
if gave_up(r, 'backoff') and r.epoch == arg(3) then return OK end
if not mine then return {'lost', r.state} end
if r.state ~= 'copying' and r.state ~= 'ready' then return {'refused', r.state} end
local delay = number(arg(5))
local tried = arg(7)
if delay == 0 and tried ~= '' then
    local sealed = call('GET', key('secret', r.user))
    if sealed and string.sub(sealed, 1, #tried) ~= tried then delay = 1000 end
end
-- The server's doing, not the account's.
local counts = arg(6) ~= '1' and not string.find(arg(4), '^throttled')
local next_try = delay > 0 and now() + delay or 0
if delay > 0 then call('ZADD', LATER, text(next_try), r.user) else call('ZREM', LATER, r.user) end
change(r, {state = 'backoff', reason = arg(4), failed = arg(4), owner = '', last_owner = r.owner, next_try = text(next_try),
           attempts = text(number(r.attempts) + (counts and 1 or 0))}, 'state')
return OK
