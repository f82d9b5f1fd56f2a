-- renew: a proxy's lease. args: incarnation, counter, version, address, terms of the lease in ms: short, long. The counter
-- only rises. The time is shown to people; no lease is judged by it.
-- ok: generation, 1 where the incarnation was not known here, when staff declared it dead (proxy_forget.lua; '0' never).
-- flags: allow-oom
if not open() then return NOSTORE end
local had = proxy(arg(1))
if had.known and number(had.counter) >= number(arg(2)) then return {'lost', 'counter'} end
local words = {arg(2), encode(arg(3)), encode(arg(4)), stamp(), now_text()}
if arg(6) ~= '' then words[6], words[7] = arg(5), arg(6) end
call('HSET', PROXIES, arg(1), table.concat(words, ' '))
return {'ok', stamp(), had.known and '0' or '1', call('HGET', FORGOTTEN, arg(1)) or '0'}
