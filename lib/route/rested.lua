-- rested: do the sessions of all members of the account's group rest? Until they do, somebody of another account may still change
-- this one's mailboxes. args: user, token, epoch. busy: the others of which some do not.
-- flags: no-writes
if not open() then return NOSTORE end
local r = look(arg(1))
if not r.exists or r.owner == '' or r.owner ~= arg(2) or r.epoch ~= arg(3) or r.generation ~= stamp() then return {'lost', r.state} end
if r.state ~= 'freezing' then return {'refused', r.state} end
local busy = {}
for _, m in ipairs(mates(r)) do
    if not is_there(r, m) and (m.state ~= 'freezing' or restless(m) > 0) then busy[#busy + 1] = m end
end
if restless(r) > 0 then busy[#busy + 1] = r end
if #busy > 0 then return {'busy', name_mates(busy)} end
return OK
