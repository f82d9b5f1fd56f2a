-- outcome: how an attempt to cut over ended. args: user, token, epoch, 1 or 0 (failed), per cent that may fail (100: any).
-- Of the last 20 of its wave, or of the accounts in none, at least 5 of them. Where more failed, the brake goes on for that wave, or
-- for all, as by staff; ok: 1 where it did, and the wave.
if not open() then return NOSTORE end
local wave = look(arg(1)).wave
local recent = prefix .. 'recent' .. (wave ~= '' and ':' .. wave or '')
local line, failed = arg(4) .. ' ' .. arg(2) .. ' ' .. arg(3), 0
local lines = call('LRANGE', recent, 0, 19)
for _, l in ipairs(lines) do
    if l == line then return {'ok', '0'} end
end
table.insert(lines, 1, line)
lines[21] = nil
for _, l in ipairs(lines) do
    if string.sub(l, 1, 1) == '0' then failed = failed + 1 end
end
call('LPUSH', recent, line)
call('LTRIM', recent, 0, 19)
local stands = wave == '' and paused() or wave_paused(wave)
if arg(4) == '1' or stands or #lines < 5 or failed * 100 <= number(arg(5)) * #lines then return {'ok', '0'} end
local why, of = text(failed) .. ' of the last ' .. text(#lines) .. ' switch-overs failed', wave ~= '' and ' wave ' .. wave or ''
if wave == '' then
    brake_put(brake_name(), '1', 'automatic stop', why, now_text())
    event(NOBODY, 'paused')
else
    call('HSET', WAVES, wave .. ':paused', '1', wave .. ':paused_by', 'automatic stop', wave .. ':paused_reason', why,
         wave .. ':paused_at', now_text())
end
audit('automatic stop', 'pause', arg(1), why, 'running' .. of, 'paused' .. of)
return {'ok', '1' .. of}
