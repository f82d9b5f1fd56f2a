-- busy: a session of the account is in use (cutover = idle). args: user, for how many ms it counts as in use, from now on.
-- ok: 1 where that was kept; 0: the account is not to be switched over, and nothing has to be known. It is a policy and
-- nothing else: a mark that is lost lets an account go sooner, one that stays lets it go later.
if not open() then return NOSTORE end
local r = look(arg(1))
if not (UNDER_WAY[r.state] or r.state == 'backoff') then return {'ok', '0'} end
local ms = number(arg(2))
if ms > busy_left(r.user) then call('SET', key('busy', r.user), '1', 'PX', text(ms)) end
return {'ok', '1'}
