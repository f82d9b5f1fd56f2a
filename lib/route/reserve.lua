-- reserve: staff are about to make stores of a site, or to restore them: does another of their urls lead here? Asked before anything is
-- made. args: token of this call of staff, which url it is, ms for which that counts. taken: by which url of the same call.
-- PREFIX:reserved has both, until then.
local RESERVED = prefix .. 'reserved'
local token, place = string.match(call('GET', RESERVED) or '', '^(%S+) (%S+)$')
if token == arg(1) and place ~= arg(2) then return {'taken', place} end
call('SET', RESERVED, arg(1) .. ' ' .. arg(2), 'PX', arg(3))
return OK
