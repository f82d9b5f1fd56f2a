-- drop: a job has ended, and its entry leaves the stream. args: user, 1 for the bulk stream, id, group.
-- ok: 1; 0: it stays, for another migrator. A job whose last word was told to a master that is gone has not ended for this
-- one: the account has the same entry still, an owner, and nobody else who would go on with it.
-- flags: allow-oom
if not open() then return NOSTORE end
local r, stream = route(arg(1)), arg(2) == '1' and BULK or JOBS
if r.job == arg(3) and (r.state == 'queued' or (OWNED[r.state] and r.owner ~= '')) then return {'ok', '0'} end
call('XDEL', stream, arg(3)) -- first: an entry that is gone from the stream is nobody's job, whoever has it pending
call('XACK', stream, arg(4), arg(3))
return {'ok', '1'}
