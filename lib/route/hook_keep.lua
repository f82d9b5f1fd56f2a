-- hook_keep: it still runs. args: name, token, lease in ms.
if not open() then return NOSTORE end
if call('HGET', HOOKS .. ':by', arg(1)) ~= arg(2) or not call('ZSCORE', HOOKS, arg(1)) then return {'lost', 'hook'} end
call('ZADD', HOOKS, text(now() + number(arg(3))), arg(1))
return OK
