-- due: one account whose time may have come is queued. args: user. ok: 1 where it was.
if not open() then return NOSTORE end
local r = route(arg(1))
local next_try = number(r.next_try)
if (r.state ~= 'backoff' and r.state ~= 'ready') or next_try == 0 then
    call('ZREM', LATER, r.user)
    return {'ok', '0'}
end
if now() < next_try then return {'ok', '0'} end
local set = push(r, r.bulk == '1')
set.reason = r.reason
change(r, set, 'state')
return {'ok', '1'}
