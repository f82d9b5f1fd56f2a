-- recount_end: all accounts were counted. args: series. lost: another recount has begun.
if not open() then return NOSTORE end
if arg(1) ~= S.series then return {'lost', S.series} end
call('DEL', COUNTS .. ':lease')
call('HSET', COUNTS, 'whole', S.series, 'listed', S.series)
return OK
