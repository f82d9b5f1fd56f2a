-- hook_take: a migrator runs a hook that is due. args: name, token, lease in ms, after which another may. lost: another
-- does, or it has been run.
if not open() then return NOSTORE end
local at, by = call('ZSCORE', HOOKS, arg(1)), call('HGET', HOOKS .. ':by', arg(1))
if not at or arg(2) == '' or (by ~= arg(2) and now() < number(at)) then return {'lost', 'hook'} end
call('ZADD', HOOKS, text(now() + number(arg(3))), arg(1))
call('HSET', HOOKS .. ':by', arg(1), arg(2))
return OK
