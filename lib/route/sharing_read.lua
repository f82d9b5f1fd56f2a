-- sharing_read: a group. args: its name; or '' and a member. ok: its name, rev, who changed it last, when in ms, and why; then of each member
-- user, state, backend, reason, what it does in the group (in: copied, waits; go: called to be switched over; or ''), source, target.
-- Nothing behind ok: there is none.
-- flags: no-writes
if not open() then return NOSTORE end
local name = arg(1) ~= '' and arg(1) or look(arg(2)).group
local f = name ~= '' and try('HMGET', group_key(name), 'rev', 'who', 'at', 'why')
if not f or not f[1] then return OK end
local out = {'ok', name, f[1], f[2] or '', f[3] or '0', f[4] or ''}
for _, user in ipairs(group_members(name)) do
    local m = look(user)
    for _, v in ipairs({user, m.state, m.backend, m.reason, m.gather, m.source, m.target}) do out[#out + 1] = v end
end
return out
