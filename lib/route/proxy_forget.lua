-- proxy_forget: an incarnation is known no more. args: incarnation, the counter watched ('' where it is in no list), generation; by
-- staff: who, reason. again: it moved.
-- A migrator's sweep has watched it for the long term of its lease, and has taken its registrations away: should it come back, its
-- lease has run out, and none of its sessions goes on. Staff declare it dead before that. So it is noted first, and its
-- registrations are taken away afterwards: should it come back at any time, its next renewal says so (renew.lua), and each of its
-- sessions asks whether it may go on (resume.lua). The note stays for longer than any lease.
-- flags: allow-oom
if not open() then return NOSTORE end
if arg(3) ~= stamp() then return {'lost', 'generation'} end
local counter = proxy(arg(1)).counter
if counter ~= arg(2) then return {'again', counter} end
if arg(4) ~= '' then
    local flat = call('HGETALL', FORGOTTEN)
    for i = 1, #flat, 2 do
        if number(flat[i + 1]) + 2 * 86400000 < now() then call('HDEL', FORGOTTEN, flat[i]) end
    end
    call('HSET', FORGOTTEN, arg(1), now_text())
    audit(arg(4), 'proxy forget', '', arg(5), arg(1), 'forgotten')
end
call('HDEL', PROXIES, arg(1))
return OK
