-- forget: staff have an account known no more, as if it had never been named: a name that is none, or a user who was deleted.
-- args: user, who, reason, home, 1 where it is gone from the servers. Only where nothing would be another thing then: it was never
-- switched over, or is gone; nobody owns it, nobody is signed in, no change of the target is without an answer. What was done with it
-- stays in the audit; conf/handbook/personal-data.md says what else, and until when.
-- ok: its state, or "none".
-- flags: allow-oom
if not open() then return NOSTORE end
local r = route(arg(1), arg(4))
if not r.exists then return {'ok', 'none'} end
if arg(5) ~= '1' and (number(r.flipped_at) > 0 or r.backend ~= arg(4)) then return {'refused', 'has been switched over: its mail is on ' .. r.backend} end
if r.group ~= '' then return {'refused', 'is in the group ' .. r.group .. ': remove it from there first'} end
if OWNED[r.state] then return {'refused', 'is ' .. r.state .. ' at this moment: hold it first'} end
if call('EXISTS', key('sessions', r.user)) == 1 then return {'refused', 'is signed in at this moment'} end
if number(r.touching) > 0 then return {'refused', 'has a change under way at ' .. r.target} end
local before = r.state
if r.job ~= '' then call('XDEL', r.bulk == '1' and BULK or JOBS, r.job) end
call('ZREM', LATER, r.user)
unpark(r.user)
late_drop(r.user)
marks_drop(r.user)
for _, record in ipairs(call('HVALS', key('views', r.user))) do
    local id = string.match(record, ' id=(%x+)')
    if id then call('UNLINK', key('ledger', r.user .. ':' .. id)) end
end
for _, name in ipairs(call('ZRANGE', HOOKS, '0', '-1')) do
    if string.match(name, '[^\n]*$') == r.user then
        call('ZREM', HOOKS, name)
        call('HDEL', HOOKS .. ':by', name)
    end
end
call('UNLINK', ARRIVALS .. ':' .. r.user)
for _, kind in ipairs({'views', 'folded', 'stamps', 'report', 'waivers', 'secret', 'busy', 'route'}) do
    call('UNLINK', key(kind, r.user))
end
local state, backend = counted_as(r)
if state then
    add_to('state:' .. state, -1)
    add_to('backend:' .. backend, -1)
    for _, f in ipairs(SUMS) do
        if number(r[f]) ~= 0 then add_to('sum:' .. f, text(-number(r[f]))) end
    end
end
uncount_wave(r)
group_out(r)
local gone = {user = r.user, state = 'resting', epoch = '0', backend = arg(4), target = '', deadline = '0'}
event(gone, 'state')
event(gone, 'forgotten') -- for what migrators have of it on their disks
audit(arg(2), 'forget', r.user, arg(3), before, 'none')
return {'ok', before}
