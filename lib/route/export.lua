-- export: what of these accounts has to be known should the store be lost: those that were ever switched over, and those that
-- are held. args: users. ok: the generation, then thirteen for each: user, backend, state, epoch, generation, source, target,
-- home, left, flipped_at, held_from, reason, view.
-- flags: no-writes
if not open() then return NOSTORE end
local out = {'ok', stamp()}
for i = 1, nargs() do
    local r = look(arg(i))
    if r.exists and (number(r.flipped_at) > 0 or r.state == 'held') then
        for _, v in ipairs({r.user, r.backend, r.state, r.epoch, r.generation, r.source, r.target, r.home or '', r.left,
                            r.flipped_at or '0', r.held_from, r.reason, r.view}) do
            out[#out + 1] = v
        end
    end
end
return out
