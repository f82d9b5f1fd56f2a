-- flipped: the only script that changes backend; neither a pause nor a quarantine stops it. args: user, token, epoch, ms
-- until the late watch looks at the server that was left (0: never), lease in ms of hook_flip (0: there is none).
-- ok: the new epoch. An account that was sent back is held there. Sessions that rest go on at the target, and are
-- registered there; one that can't leaves.
if not open(true) then return NOSTORE end
local r, mine = job()
if (gave_up(r, 'flipped') or gave_up(r, 'held')) and r.prior == arg(3) then return {'ok', r.epoch} end
if not mine then return {'lost', r.state} end
if r.state ~= 'flipping' or r.target == '' then return {'refused', r.state} end
local set = {state = 'flipped', backend = r.target, prior = r.epoch, epoch = text(number(r.epoch) + 1), owner = '',
             last_owner = r.owner, force = '', left = r.source, forced = '', now = '', attempts = '0', reason = '', failed = '', died = '',
             died_late = '', flipped_at = now_text()}
-- What the late watch has to know: was any of it copied? (record ids are made before the first message is)
if r.force == '1' then set.forced = call('EXISTS', key('views', r.user)) == 1 and 'copied' or 'bare' end
if not r.home or r.home == '' then set.home = r.source end
if r.back == '1' then
    set.state, set.held_from, set.back = 'held', 'resting', ''
    set.reason = 'held: sent back to ' .. r.target
end
for name, s in pairs(sessions(r.user)) do
    s.backend, s.epoch, s.mode = encode(r.target), set.epoch, 'running'
    put_session(r.user, name, s)
end
if number(arg(4)) > 0 then late_put(r.user, number(arg(4)), false) else late_drop(r.user) end
local proof = proof_of(r)
local how = r.force == '1' and 'without a copy' or proof ~= '' and 'proof ' .. proof or ''
change(r, set, 'state')
audit(r.at ~= '' and r.at or 'migrator', 'flip', r.user, how, 'flipping ' .. r.source, r.state .. ' ' .. r.backend)
hook_note(r, 'flip', r.source, arg(2), arg(5))
return {'ok', r.epoch}
