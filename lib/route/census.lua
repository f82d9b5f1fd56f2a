-- census: the registrations of an account and the leases of their proxies, as of one instant. args: user.
-- ok: generation, list of session and value, list of incarnation and counter ('' where there is none), list of the short and
-- the long term in ms for each of these ('' where it told none), list of their hosts.
-- flags: no-writes
if not open() then return NOSTORE end
local flat, seen, proxies, terms, hosts = call('HGETALL', key('sessions', arg(1))), {}, {}, {}, {}
for i = 1, #flat, 2 do
    local who = string.match(flat[i], '^(.*)/[^/]*$') or flat[i]
    if not seen[who] then
        local p = proxy(who)
        seen[who] = true
        proxies[#proxies + 1], proxies[#proxies + 2] = who, p.counter
        terms[#terms + 1], terms[#terms + 2] = p.short or '', p.long or ''
        hosts[#hosts + 1] = p.host
    end
end
return {'ok', stamp(), flat, proxies, terms, hosts}
