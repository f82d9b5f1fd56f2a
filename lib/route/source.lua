-- source: staff say on which backend accounts without a record live. It asks for no id, since a program that has another source than
-- the store has not read the id. args: backend, who, reason. ok: the source before, '' where none was told.
-- refused: a process that is alive, which would go on with the source that it has read.
look_at_store()
if S.id == '' then return NOSTORE end
local living = call('HGETALL', prefix .. 'instances')
for i = 1, #living, 2 do
    local told = string.match(living[i + 1], '^%S+ (%d+)')
    if told and number(told) + 12000 > now() then return {'refused', living[i]} end
end
local before = call('HGET', STORE, 'source') or ''
if before ~= arg(1) then
    call('HSET', STORE, 'source', arg(1))
    audit(arg(2), 'route source', '', arg(3), before, arg(1))
end
return {'ok', before}
