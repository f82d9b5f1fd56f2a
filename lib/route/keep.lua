-- keep: a migrator lives and still works on these entries of a stream of jobs. args: group, its name in it, 1 for the bulk stream,
-- ids. ok: those that are its own and still in the stream. What another one has taken meanwhile stays that one's: what a connection
-- that stood still delivers late takes nothing back.
-- flags: allow-oom
if not open() then return NOSTORE end
local stream, group, me, out = arg(3) == '1' and BULK or JOBS, arg(1), arg(2), {'ok'}
for i = 4, nargs() do
    if has_entry(stream, group, me, arg(i)) and #call('XCLAIM', stream, group, me, '0', arg(i), 'JUSTID') > 0 then
        out[#out + 1] = arg(i)
    end
end
return out
