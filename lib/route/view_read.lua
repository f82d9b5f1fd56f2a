-- view_read: the account's view (lib/view.h), and which one that is, at one instant. args: user; 1: the records also where
-- proxies need none.
-- ok: view, backend, epoch; then, where records are needed, pairs of name and record.
-- wait: flipping. From `flip` on the route names the view of the target, and a view is told with its backend alone.
-- flags: no-writes
if not open() then return NOSTORE end
local r = look(arg(1))
if r.state == 'flipping' then return {'wait'} end
local out = {'ok', r.view, r.backend, r.epoch}
if r.view == '' then return out end
if arg(2) ~= '1' and string.sub(r.view, 1, 3) == '1=:' then return out end
local rows = call('HGETALL', key('views', arg(1)))
for i = 1, #rows do out[i + 4] = rows[i] end
return out
