-- fingerprint: is this account another one's under a second name? args: user, token, epoch, marks of its first messages.
-- Two marks that another account has are that account (one could be a message that a script put into many accounts in
-- one second); then nothing is kept.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local common, marks = {}, {}
for i = 4, nargs() do
    marks[#marks + 1] = arg(i)
    local who = marked(arg(i))
    if who and who ~= r.user then
        common[who] = (common[who] or 0) + 1
        if common[who] == 2 then return {'refused', who} end
    end
end
marks_drop(r.user)
marks_put(r.user, marks)
return OK
