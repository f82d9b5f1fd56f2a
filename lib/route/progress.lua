-- progress: counters for people. args: user, token, epoch, then pairs of name and value. No event: there are many.
-- ok: the state, for who waits for its flip to be kept.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local flat, set = {}, {}
for i = 4, nargs() do flat[#flat + 1] = arg(i) end
for i = 1, #flat, 2 do set[flat[i]] = flat[i + 1] end
if counted_as(r) then add_up(r, set, true) end
if #flat > 0 then call('HSET', key('route', r.user), unpack(flat)) end
return {'ok', r.state}
