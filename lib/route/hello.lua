-- hello: what a connection begins with. ARGV[1]: the id read before, '' at first. args: quarantine in ms.
-- ok: id, generation, ms of quarantine left. replica: this server takes no writes.
if string.match(call('INFO', 'replication'), 'role:(%l+)') ~= 'master' then return {'replica'} end
look_at_store()
if S.id == '' then return NOSTORE end
if ARGV[1] ~= '' and ARGV[1] ~= S.id then return {'foreign', S.id} end
if S.quarantine ~= number(arg(1)) then
    S.quarantine = number(arg(1))
    call('HSET', STORE, 'quarantine', arg(1))
end
compare_server()
return {'ok', S.id, text(S.generation), text(quarantine_left())}
