-- strangers: the incarnations that have registrations of these accounts and are not known: of a proxy that ended while a `leave`
-- was not answered, or was forgotten. args: users. ok: generation, then their names.
-- flags: no-writes
if not open() then return NOSTORE end
local out, seen = {'ok', stamp()}, {}
for i = 1, nargs() do
    for _, name in ipairs(try('HKEYS', key('sessions', arg(i))) or {}) do
        local who = string.match(name, '^(.*)/[^/]*$') or name
        if not seen[who] and not proxy(who).known then out[#out + 1] = who end
        seen[who] = true
    end
end
return out
