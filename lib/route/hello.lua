-- hello: what a connection begins with, where nothing has to be written: who only reads can do so while Redis takes no
-- writes. ARGV[1]: the id read before, '' at first. args: how long a quarantine has to last for this program's leases, in ms.
-- Then the source that the configuration gives to accounts without a record, '' from versions that don't tell it, and 1 from a daemon.
-- The first one that a daemon tells stands (`source`); source.lua changes it. A program that has another one would serve these accounts from another server.
-- ok: id, generation, ms of quarantine left. replica: this server takes no writes. greet: greet.lua has something to write.
-- source: the one that stands.
-- flags: no-writes
if string.match(call('INFO', 'replication'), 'role:(%l+)') ~= 'master' then return {'replica'} end
look_at_store()
if S.id == '' then return NOSTORE end
if ARGV[1] ~= '' and ARGV[1] ~= S.id then return {'foreign', S.id} end
local source = call('HGET', STORE, 'source') or ''
if arg(2) ~= '' and source ~= '' and source ~= arg(2) then return {'source', source} end
local _, told, _, short = quarantine_asked(number(arg(1)))
if not told or short or (arg(3) == '1' and arg(2) ~= '' and source == '') or S.promoted == '' or not is_same_server() then return {'greet'} end
return {'ok', S.id, stamp(), text(quarantine_left())}
