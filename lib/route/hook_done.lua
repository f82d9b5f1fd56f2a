-- hook_done: it was run, whoever runs it besides. args: name.
-- flags: allow-oom
if not open() then return NOSTORE end
call('ZREM', HOOKS, arg(1))
call('HDEL', HOOKS .. ':by', arg(1))
return OK
