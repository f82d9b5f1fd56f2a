-- migrator: how long the jobs that a migrator reads or claims are its own. args: id, job_lease in ms, version, why it takes no work
-- at this moment ('' it does), for people. It says so before it reads any, and as often as it claims them anew.
-- PREFIX:migrators has "term told version why" for each id, the last one encoded. Another process of that name may still work by a longer term, which
-- therefore stays until it is over; what nobody has told for a day is of no use any more.
if not open() then return NOSTORE end
local term, told = number(arg(2)), now()
local flat = call('HGETALL', MIGRATORS)
for i = 1, #flat, 2 do
    local had, since = parse_migrator(flat[i + 1])
    if flat[i] == arg(1) then
        if had > term and told < since + had then term, told = had, since end
    elseif told > since + had + 86400000 then
        call('HDEL', MIGRATORS, flat[i])
        call('HDEL', MIGRATORS .. ':groups', flat[i])
    end
end
-- When it said so, since one of a release that knows no groups may come under the same name (sharing_edit.lua).
call('HSET', MIGRATORS .. ':groups', arg(1), text(told))
shut_out()
call('HSET', MIGRATORS, arg(1), table.concat({text(term), text(told), encode(arg(3)), encode(arg(4))}, ' '))
return OK
