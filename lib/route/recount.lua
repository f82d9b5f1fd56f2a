-- recount: these accounts are counted, where they are not, and put into their groups. args: series, users. lost: another recount has begun.
if not open() then return NOSTORE end
if arg(1) ~= S.series then return {'lost', S.series} end
for i = 2, nargs() do
    local r, set = call('TYPE', key('route', arg(i))).ok == 'hash' and look(arg(i)) or {}, {}
    if r.exists then
        count(r, set)
        local group = group_of(r.state, r.reason)
        local had, since = string.match(r.listed, '^(%S+) (%d+)$')
        if group ~= '' then
            since = had == group and since or now_text()
            group_in(r.user, group, since)
            call('HSET', key('route', r.user), 'listed', group .. ' ' .. since)
        elseif had then
            call('HDEL', key('route', r.user), 'listed')
        end
    end
    for _, mark in ipairs({'counted', 'counted_wave'}) do
        if set[mark] then call('HSET', key('route', r.user), mark, set[mark]) end
    end
end
call('PEXPIRE', COUNTS .. ':lease', '30000')
return OK
