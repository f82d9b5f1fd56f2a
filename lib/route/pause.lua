-- pause: the brake for all migrations. args: 1 or 0, who, reason.
if not open() then return NOSTORE end
local on = arg(1) == '1'
if paused() == on then return OK end
if not on then call('DEL', prefix .. 'recent') end -- what failed before has been looked at
call('HSET', CONTROL, 'paused', on and '1' or '0', 'paused_by', arg(2), 'paused_reason', arg(3),
     'paused_at', now_text())
event(NOBODY, on and 'paused' or 'resumed')
audit(arg(2), on and 'pause' or 'resume', '', arg(3), on and 'running' or 'paused', on and 'paused' or 'running')
return OK
