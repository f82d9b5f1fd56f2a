-- views: the owner writes view records. args: user, token, epoch, number of names to drop, these names, then pairs of
-- name and record. The highest UIDVALIDITY that clients were shown under a name never falls, whatever the owner has read of it;
-- one that they would have been shown behind a flip that did not come is none of these.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local drop, views = number(arg(4)), key('views', r.user)
for i = 5, 4 + drop do call('HDEL', views, arg(i)) end
for i = 5 + drop, nargs() - 1, 2 do
    local is = arg(i + 1)
    local before, unflipped = string.match(call('HGET', views, arg(i)) or '', ' highest=(%d+),?(%d*) ')
    if r.view == '' and (unflipped or '') ~= '' then before = unflipped end
    if before and number(before) > number(string.match(is, ' highest=(%d+)')) then
        is = string.gsub(is, ' highest=[%d,]+ ', ' highest=' .. before .. ' ', 1)
    end
    call('HSET', views, arg(i), is)
end
return OK
