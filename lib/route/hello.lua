-- hello: what a connection begins with, where nothing has to be written: who only reads can do so while Redis takes no
-- writes. ARGV[1]: the id read before, '' at first. args: how long a quarantine has to last for this program's leases, in ms.
-- Then the source that the configuration gives to accounts without a record, '' from versions that don't tell it, and 1 from a daemon.
-- Then which store it is by the configuration, and of how many, as init.lua has it ('': 1 of 1, from versions that don't tell it); stores of one site
-- share an id, which is told behind the rest.
-- The first source that a daemon tells stands (`source`); source.lua changes it. A program that has another one would serve these accounts from another server.
-- ok: id, generation, ms of quarantine left. nostore: coming, where a restore is under way; moved (move.lua). replica: this server takes no writes. greet: greet.lua has something to write.
-- source: the one that stands. place: which store it is by its record, and of how many.
-- flags: no-writes
if string.match(call('INFO', 'replication'), 'role:(%l+)') ~= 'master' then return {'replica'} end
look_at_store()
if S.id == '' then
    local told = string.match(call('GET', prefix .. 'restoring') or '', '^%S+ (%d+)$')
    if number(told) + 60000 > now() then return {'nostore', 'coming'} end
    return call('EXISTS', STORE .. ':moved') == 1 and {'nostore', 'moved'} or NOSTORE
end
if ARGV[1] ~= '' and ARGV[1] ~= S.id then return {'foreign', S.id} end
local place, of, shared = place_of_store()
if arg(4) ~= '' and (arg(4) ~= place or arg(5) ~= of) or arg(4) == '' and of ~= '1' then return {'place', place, of} end
local source = call('HGET', STORE, 'source') or ''
if arg(2) ~= '' and source ~= '' and source ~= arg(2) then return {'source', source} end
local _, told, _, short = quarantine_asked(number(arg(1)))
if not told or short or (arg(3) == '1' and arg(2) ~= '' and source == '') or S.promoted == '' or not is_same_server() then return {'greet'} end
return {'ok', S.id, stamp(), text(quarantine_left()), shared}
