-- recount_begin: accounts are to be counted anew, in a series of its own. args: 1 where that is only needed if it was never done
-- to its end, and nobody is at it. ok: the series; 1 where there is nothing to do.
if not open() then return NOSTORE end
local marks = call('HMGET', COUNTS, 'whole', 'listed') -- a version that knew no groups wrote the first alone
local whole = S.series ~= '' and marks[1] == S.series and marks[2] == S.series
if arg(1) == '1' and (whole or call('EXISTS', COUNTS .. ':lease') == 1) then return {'ok', S.series, '1'} end
call('SET', COUNTS .. ':lease', '1', 'PX', '30000')
S.series = text(call('HINCRBY', STORE, 'series', 1))
call('HSETNX', STORE, 'audit_since', now_text()) -- see audit_read.lua
call('DEL', COUNTS)
for _, group in ipairs(call('SMEMBERS', GROUPS)) do call('UNLINK', prefix .. 'in:' .. group) end
call('DEL', GROUPS)
return {'ok', S.series, '0'}
