-- init: makes the store. args: id to give it, quarantine in ms.
look_at_store()
if S.id == arg(1) then return OK end
if S.id ~= '' then return {'refused', 'there already'} end
local run = string.match(call('INFO', 'server'), 'run_id:(%w+)') or ''
call('HSET', STORE, 'id', arg(1), 'generation', '1', 'schema', '1', 'run_id', run, 'quarantine', arg(2),
     'quarantine_until', '0', 'series', '1', 'audit_since', '0')
call('HSET', COUNTS, 'whole', '1')
return OK
