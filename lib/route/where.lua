-- where: what a proxy has to know of an account: where it lives, and whether it stands still. Nothing is written: the name may
-- be anything that somebody typed. It is run at each login, so it says no more than that. args: user; then, where somebody is about
-- to try a password, who that is and from which network, as penalty.lua is told ('' nobody).
-- ok: generation; then, where there is a record: backend, state, epoch, source, target, ms to the deadline (at least 1; 0 none),
-- view. A freeze of an older generation is shown as it will be found. Behind all that, where passwords have failed: "of whoever tries, of
-- the network, and 1 where they have signed in from there of late".
-- flags: no-writes
if not open() then return NOSTORE end
local name, generation = key('route', arg(1)), stamp()
local f = call('HMGET', name, 'backend', 'state', 'epoch', 'generation', 'source', 'target', 'deadline', 'view')
-- A record without a backend is none of ours: the caller is told so, since "no record" would mean the configured source.

-- A record of another kind keeps nobody out.
local function failures()
    if arg(3) == '' then return nil end
    local pair = 'p' .. string.sub(redis.sha1hex(arg(2)), 1, 16) .. arg(3)
    local v = redis.pcall('HMGET', prefix .. 'penalty', pair, 'n' .. arg(3))
    if not v[1] and not v[2] then return nil end
    local function parse(e)
        local n, ends, good = string.match(e or '', '^(%d+) %d+ (%d+) (%d)$')
        if number(ends) <= now() then return 0, '0' end
        return number(n), good
    end
    local n, good = parse(v[1])
    return table.concat({text(n), text((parse(v[2]))), good}, ' ')
end

if not f[1] and call('EXISTS', name) == 0 then return {'ok', generation, failures()} end
local state, deadline = f[2] or 'resting', number(f[7])
if f[4] ~= generation and (state == 'preparing' or state == 'freezing') then state, deadline = 'ready', 0 end
return {'ok', generation, f[1] or '', state, f[3] or '0', f[5] or '', f[6] or '',
        deadline > 0 and text(math.max(1, deadline - now())) or '0', f[8] or '', failures()}
