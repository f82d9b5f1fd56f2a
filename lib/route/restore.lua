-- restore: routes of a store that was lost, before it is made anew (init.lua), so that no login finds half of them. args: the
-- generation that it will have, then eleven for each account: user, backend, state, epoch, source, target, home, left, flipped_at,
-- held_from, reason. Nothing is known of what was copied: the late watch begins as after a flip by force (forced).
-- ok: how many were written. Repeated, it writes the same. What is there with a later epoch stays.
look_at_store()
if S.id ~= '' then return {'refused', 'there'} end
S.generation, S.series = number(arg(1)), '1'
local n = 0
for i = 2, nargs(), 11 do
    local r = look(arg(i), arg(i + 1))
    if not r.exists or number(r.epoch) <= number(arg(i + 3)) then
        if r.job ~= '' then call('XDEL', r.bulk == '1' and BULK or JOBS, r.job) end
        call('ZREM', LATER, r.user)
        local left, at = arg(i + 7), arg(i + 8)
        change(r, {backend = arg(i + 1), state = arg(i + 2), epoch = arg(i + 3), source = arg(i + 4), target = arg(i + 5),
                   home = arg(i + 6), left = left, flipped_at = at, held_from = arg(i + 9), reason = arg(i + 10), job = '',
                   owner = '', forced = number(at) > 0 and 'bare' or ''})
        if left ~= '' then late_put(r.user, 60000, false) else late_drop(r.user) end
        n = n + 1
    end
end
return {'ok', text(n)}
