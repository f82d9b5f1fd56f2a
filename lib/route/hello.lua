-- hello: what a connection begins with. ARGV[1]: the id read before, '' at first. args: how long a quarantine has to last
-- for this program's leases, in ms. It lasts as long as any program ever asked for: `longest`. (`quarantine` is the same for
-- the version before, which puts its own there.)
-- ok: id, generation, ms of quarantine left. replica: this server takes no writes.
if string.match(call('INFO', 'replication'), 'role:(%l+)') ~= 'master' then return {'replica'} end
look_at_store()
if S.id == '' then return NOSTORE end
if ARGV[1] ~= '' and ARGV[1] ~= S.id then return {'foreign', S.id} end
local longest = math.max(number(arg(1)), S.longest, S.quarantine)
local began = S.quarantine_of == S.generation and S.quarantine_from or S.quarantine_until - S.quarantine
if longest ~= S.longest or longest ~= S.quarantine then
    S.longest, S.quarantine = longest, longest
    call('HSET', STORE, 'longest', text(longest), 'quarantine', text(longest))
end
-- One under way was opened by who did not know of it.
if quarantine_left() > 0 and S.quarantine_until < began + longest then quarantine(began, longest) end
compare_server()
return {'ok', S.id, text(S.generation), text(quarantine_left())}
