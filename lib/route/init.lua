-- init: makes the store. args: id to give it, quarantine in ms, generation (none: 1), 1 where the quarantine begins now, since
-- proxies and migrators of a store that was lost may still be at work, the source of accounts without a record (hello.lua),
-- token of the restore that this ends (restore.lua), which store of the site it is, of how many ("3/domain": over which
-- accounts are spread by their domains, lib/stores.h), the id that they share,
-- ms for which entries of an account's audit are kept (sample.lua, which a migrator calls; staff act before there is one).
-- refused: there already; moved (reopen.lua); restoring.
look_at_store()
if S.id == arg(1) then return OK end
if S.id ~= '' then return {'refused', 'there already'} end
if call('EXISTS', STORE .. ':moved') == 1 then return {'refused', 'moved'} end
local restoring = string.match(call('GET', prefix .. 'restoring') or '', '^%S+')
if restoring and restoring ~= arg(6) then return {'refused', 'restoring'} end
local generation = math.max(1, number(arg(3)))
call('HSET', STORE, 'id', arg(1), 'generation', text(generation), 'schema', '1', 'run_id', server_run_id(), 'promoted', server_promoted(), 'quarantine', arg(2),
     'quarantine_until', '0', 'series', '1', 'audit_since', '0')
-- Of a store that was lost marks may be left as the version before wrote them: they are looked for there.
if call('EXISTS', prefix .. 'fingerprints') == 0 then call('HSET', STORE, 'small', '1') end
if arg(10) ~= '' then call('HSET', STORE, 'audit_keep', arg(10)) end
if arg(5) ~= '' then call('HSET', STORE, 'source', arg(5)) end
if number(string.match(arg(8), '^%d+')) > 1 then call('HSET', STORE, 'place', arg(7), 'stores', arg(8), 'site', arg(9)) end
call('HSET', COUNTS, 'whole', '1', 'listed', '1')
if restoring then call('DEL', prefix .. 'restoring', prefix .. 'restoring:groups') end
if arg(4) == '1' then
    S.generation = generation
    quarantine(now(), number(arg(2)))
end
return OK
