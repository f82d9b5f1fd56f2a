-- sample: notes how far everything is, for a picture over time: each minute of the last day in PREFIX:history, each hour of the last
-- year in PREFIX:history:hours, each a list of "ms name=number ..." as counts_read has them. All migrators call it each minute; the first
-- one writes, and none before all accounts were counted. It also ends what is kept about people by its age: events after a day, entries
-- of the audit and of what came late after the time that is asked for. args: that time in ms ('0': for ever).
if not open() then return NOSTORE end
if call('HGET', COUNTS, 'whole') ~= S.series then return OK end
local MINUTES, HOURS = 1440, 8760
local function is_due(list, ms)
    local last = string.match(call('LINDEX', list, '-1') or '', '^%d+')
    return not last or math.abs(now() - number(last)) > ms -- also where the clock of another master is behind
end
local minute, hour = is_due(HISTORY, 55000), is_due(HISTORY .. ':hours', 3595000)
if not minute and not hour then return OK end
local words, flat = {now_text()}, call('HGETALL', COUNTS)
for i = 1, #flat, 2 do
    if flat[i] ~= 'whole' and flat[i] ~= 'listed' and flat[i + 1] ~= '0' then
        words[#words + 1] = encode(flat[i]) .. '=' .. flat[i + 1]
    end
end
local line = table.concat(words, ' ')
if minute then
    local keep = number(arg(1))
    call('XTRIM', EVENTS, 'MINID', text(now() - 86400000))
    for _, stream in ipairs(keep > 0 and {AUDIT, ARRIVALS} or {}) do call('XTRIM', stream, 'MINID', text(now() - keep)) end
    if keep ~= S.audit_keep then call('HSET', STORE, 'audit_keep', text(keep)) end
    call('RPUSH', HISTORY, line)
    call('LTRIM', HISTORY, text(-MINUTES), '-1')
end
if hour then
    call('RPUSH', HISTORY .. ':hours', line)
    call('LTRIM', HISTORY .. ':hours', text(-HOURS), '-1')
end
return OK
