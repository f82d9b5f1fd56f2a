-- restore: routes of a store that was lost, before it is made anew (init.lua), so that no login finds half of them. args: the
-- generation that it will have, a token of this restore, 1 where what is left of another store is no obstacle, then twelve for each
-- account: user, backend, state, epoch, source, target, home, left, flipped_at, held_from, reason, view. Nothing is known of what was
-- copied: the late watch begins as after a flip by force (forced). A view whose records are still there stays.
-- PREFIX:restoring has the token, and when it was last heard of: until it is done no store is made by others. A restore that said
-- nothing for a minute has ended, and another one may go on, if it is of the same (head.lua, "restores").
-- ok: how many were written. Repeated, it writes the same. What was switched over later, by what is there, stays.
-- refused: there; moved (reopen.lua); another (restore is at work); half (of another one is here); leftover (records of a store that somebody made meanwhile).
look_at_store()
if S.id ~= '' then return {'refused', 'there'} end
if call('EXISTS', STORE .. ':moved') == 1 then return {'refused', 'moved'} end
local RESTORING = prefix .. 'restoring'
local token, told = string.match(call('GET', RESTORING) or '', '^(%S+) (%d+)$')
if token and token ~= arg(2) and number(told) + 60000 > now() then return {'refused', 'another'} end
if token and is_of_another(token, restore_of(arg(2))) then return {'refused', 'half'} end
if not token and arg(3) ~= '1' and call('HGET', COUNTS, 'whole') then return {'refused', 'leftover'} end
call('SET', RESTORING, arg(2) .. ' ' .. now_text())
S.generation, S.series = number(arg(1)), '1'
local n = 0
for i = 4, nargs(), 12 do
    local r = look(arg(i), arg(i + 1))
    local epoch = number(arg(i + 3))
    if not r.exists or number(r.epoch) <= epoch or number(r.flipped_at) <= number(arg(i + 8)) then
        if r.job ~= '' then call('XDEL', r.bulk == '1' and BULK or JOBS, r.job) end
        call('ZREM', LATER, r.user)
        unpark(r.user)
        local left, at = arg(i + 7), arg(i + 8)
        change(r, {backend = arg(i + 1), state = arg(i + 2), epoch = text(math.max(epoch, number(r.epoch))), source = arg(i + 4),
                   target = arg(i + 5), home = arg(i + 6), left = left, flipped_at = at, held_from = arg(i + 9),
                   reason = arg(i + 10), view = r.view ~= '' and r.view or arg(i + 11), job = '', owner = '', parked = '',
                   forced = number(at) > 0 and 'bare' or ''})
        if left ~= '' then late_put(r.user, 60000, false) else late_drop(r.user) end
        n = n + 1
    end
end
return {'ok', text(n)}
