-- where: what a proxy has to know of an account: where it lives, and whether it stands still. Nothing is written: the name may
-- be anything that somebody typed. It is run at each login, so it says no more than that. args: user.
-- ok: generation; then, where there is a record: backend, state, epoch, source, target, ms to the deadline (at least 1; 0 none),
-- view. A freeze of an older generation is shown as it will be found.
-- flags: no-writes
if not open() then return NOSTORE end
local name, generation = key('route', arg(1)), stamp()
local f = call('HMGET', name, 'backend', 'state', 'epoch', 'generation', 'source', 'target', 'deadline', 'view')
-- A record without a backend is none of ours: the caller is told so, since "no record" would mean the configured source.
if not f[1] and call('EXISTS', name) == 0 then return {'ok', generation} end
local state, deadline = f[2] or 'resting', number(f[7])
if f[4] ~= generation and (state == 'preparing' or state == 'freezing') then state, deadline = 'ready', 0 end
return {'ok', generation, f[1] or '', state, f[3] or '0', f[5] or '', f[6] or '',
        deadline > 0 and text(math.max(1, deadline - now())) or '0', f[8] or ''}
