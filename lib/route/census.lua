-- census: the registrations of an account and the lease counters of their proxies, as of one instant. args: user.
-- ok: generation, list of session and value, list of incarnation and counter ('' where there is none).
if not open() then return NOSTORE end
local flat, seen, proxies = call('HGETALL', key('sessions', arg(1))), {}, {}
for i = 1, #flat, 2 do
    local who = string.match(flat[i], '^(.*)/[^/]*$') or flat[i]
    if not seen[who] then
        seen[who] = true
        proxies[#proxies + 1] = who
        proxies[#proxies + 1] = string.match(call('HGET', PROXIES, who) or '', '^(%d+) ') or ''
    end
end
return {'ok', text(S.generation), flat, proxies}
