-- pause: the brake for all migrations, or for one wave. args: 1 or 0, who, reason, wave ('': all).
if not open() then return NOSTORE end
local on, who, reason, wave = arg(1) == '1', arg(2), arg(3), arg(4)
local before, after = on and 'running' or 'paused', on and 'paused' or 'running'
local of = wave ~= '' and ' wave ' .. wave or ''
if (wave == '' and paused() or wave_paused(wave)) == on then return OK end
if not on then call('DEL', prefix .. 'recent' .. (wave ~= '' and ':' .. wave or '')) end -- what failed before has been looked at
if wave == '' then
    brake_put(brake_name(), on and '1' or '0', who, reason, now_text())
    event(NOBODY, on and 'paused' or 'resumed')
else
    call('HSET', WAVES, wave .. ':paused', on and '1' or '0', wave .. ':paused_by', who, wave .. ':paused_reason', reason,
         wave .. ':paused_at', now_text())
end
audit(who, on and 'pause' or 'resume', '', reason, before .. of, after .. of)
return OK
