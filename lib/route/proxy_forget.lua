-- proxy_forget: an incarnation that was watched in silence, and whose registrations are gone, is known no more. Should it come
-- back, renew.lua says that it is not known, and none of its sessions goes on. args: incarnation, the counter watched, generation.
if not open() then return NOSTORE end
if arg(3) ~= text(S.generation) then return {'lost', 'generation'} end
local counter = proxy(arg(1)).counter
if counter ~= arg(2) then return {'again', counter} end
call('HDEL', PROXIES, arg(1))
return OK
