-- renew: a proxy's lease. args: incarnation, counter, version, address. The counter only rises. The time at the end is
-- shown to people; no lease is judged by it.
-- ok: generation, 1 where the incarnation was not known here.
if not open() then return NOSTORE end
local had = call('HGET', PROXIES, arg(1))
if had and number(string.match(had, '^(%d+) ')) >= number(arg(2)) then return {'lost', 'counter'} end
call('HSET', PROXIES, arg(1), table.concat({arg(2), encode(arg(3)), encode(arg(4)), text(S.generation), text(now())}, ' '))
return {'ok', text(S.generation), had and '0' or '1'}
