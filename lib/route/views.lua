-- views: the owner writes view records. args: user, token, epoch, number of names to drop, these names, then pairs of
-- name and record.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local drop, views = number(arg(4)), key('views', r.user)
for i = 5, 4 + drop do call('HDEL', views, arg(i)) end
for i = 5 + drop, nargs() - 1, 2 do call('HSET', views, arg(i), arg(i + 1)) end
return OK
