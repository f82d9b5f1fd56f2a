-- late_done: the look is over. args: user, token, epoch, ms until the next (0: none), 1 where the set time is over, how
-- many messages it has brought, lease in ms of hook_settle (0: there is none), 1 where it saw all. A credential is not kept longer
-- than the set time; nor is a doubt (calm.lua), once a look has seen all at its end: what a server may have executed so late it
-- has executed by then, and what comes later is the user's.
if not open() then return NOSTORE end
local r, mine = job()
if not mine and arg(2) ~= '' and r.last_late == arg(2) then return {'ok', r.state} end
if not mine or not WATCHED[r.state] then return {'lost', r.state} end
local set, delay = {owner = '', last_late = arg(2)}, number(arg(4))
set.late_found = text(number(r.late_found) + number(arg(6)))
if delay > 0 then late_put(r.user, delay, arg(5) == '1') else late_drop(r.user) end
if arg(5) == '1' and arg(8) == '1' and r.doubted then set.doubted = '0' end
if arg(5) == '1' and r.state == 'flipped' then
    set.state = 'settled'
    call('DEL', key('secret', r.user))
end
change(r, set, set.state and 'state')
if r.state == 'settled' and (set.state or r.last_owner ~= '') then -- or the version before has settled it
    settle_down(r)
    pack_audit(r.user)
end
if set.state then hook_note(r, 'settle', left_server(r), arg(2), arg(7)) end
return {'ok', r.state}
