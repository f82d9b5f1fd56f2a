-- fingerprint: is this account another one's under a second name? args: user, token, epoch, marks of its first messages.
-- Two marks that another account has are that account (one could be a message that a script put into many accounts in
-- one second); then nothing is kept. PREFIX:fingerprints has mark -> account, and "=account" -> its marks.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local all, common = prefix .. 'fingerprints', {}
for i = 4, nargs() do
    local who = call('HGET', all, arg(i))
    if who and who ~= r.user then
        common[who] = (common[who] or 0) + 1
        if common[who] == 2 then return {'refused', who} end
    end
end
for mark in string.gmatch(call('HGET', all, '=' .. r.user) or '', '%S+') do
    if call('HGET', all, mark) == r.user then call('HDEL', all, mark) end
end
local kept = {}
for i = 4, nargs() do
    if call('HSETNX', all, arg(i), r.user) == 1 then kept[#kept + 1] = arg(i) end
end
if #kept > 0 then call('HSET', all, '=' .. r.user, table.concat(kept, ' ')) else call('HDEL', all, '=' .. r.user) end
return OK
