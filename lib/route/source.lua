-- source: staff say on which backend accounts without a record live. It asks for no id, since a program that has another source than
-- the store has not read the id. args: backend, who, reason. ok: the source before, '' where none was told.
look_at_store()
if S.id == '' then return NOSTORE end
local before = call('HGET', STORE, 'source') or ''
if before ~= arg(1) then
    call('HSET', STORE, 'source', arg(1))
    audit(arg(2), 'route source', '', arg(3), before, arg(1))
end
return {'ok', before}
