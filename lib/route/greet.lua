-- greet: what hello.lua found to be written. ARGV[1], args and answer as there; a daemon says 1 behind them. A quarantine lasts as long as any program ever
-- asked for: `longest`. (`quarantine` is the same for the version before, which puts its own there.)
look_at_store()
if S.id == '' then return NOSTORE end
if ARGV[1] ~= '' and ARGV[1] ~= S.id then return {'foreign', S.id} end
local place, of, shared = place_of_store()
if arg(4) ~= '' and (arg(4) ~= place or arg(5) ~= of) or arg(4) == '' and of ~= '1' then return {'place', place, of} end
local source = call('HGET', STORE, 'source') or ''
if arg(2) ~= '' and source ~= '' and source ~= arg(2) then return {'source', source} end
-- What one staff member's configuration says is no proof of where accounts live: daemons alone tell it.
if arg(3) == '1' and arg(2) ~= '' and source == '' then call('HSET', STORE, 'source', arg(2)) end
local longest, told, began, short = quarantine_asked(number(arg(1)))
if not told then
    S.longest, S.quarantine = longest, longest
    call('HSET', STORE, 'longest', text(longest), 'quarantine', text(longest))
end
if short then quarantine(began, longest) end
compare_server()
return {'ok', S.id, stamp(), text(quarantine_left()), shared}
