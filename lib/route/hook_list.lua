-- hook_list: hooks that are due and that nobody runs (hook_note() in head.lua). args: how many at most. ok: their names.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok'}
local names = call('ZRANGEBYSCORE', HOOKS, '-inf', now_text(), 'LIMIT', '0', arg(1))
for i = 1, #names do out[i + 1] = names[i] end
return out
