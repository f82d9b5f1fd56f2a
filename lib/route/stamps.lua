-- stamps: the owner writes how mailboxes looked when they were last equal. args: user, token, epoch, number of record
-- ids to drop, these ids, then pairs of id and stamp.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local drop, stamps = number(arg(4)), key('stamps', r.user)
for i = 5, 4 + drop do call('HDEL', stamps, arg(i)) end
for i = 5 + drop, nargs() - 1, 2 do call('HSET', stamps, arg(i), arg(i + 1)) end
return OK
