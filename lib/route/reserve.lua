-- reserve: staff are about to make stores of a site, or to restore them: does another of their urls lead here? Asked before anything is
-- made. args: token of this call of staff, which url it is, ms for which that counts, what this one would be restored of (restore_of(); ''
-- for init). taken: by which url of the same call. refused: why this one can't be made, so that none of the others is.
-- PREFIX:reserved has both, until then.
if call('EXISTS', STORE .. ':moved') == 1 then return {'refused', 'moved'} end
local restoring = string.match(call('GET', prefix .. 'restoring') or '', '^%S+')
if restoring and arg(4) == '' then return {'refused', 'restoring'} end
if restoring and is_of_another(restoring, arg(4)) then return {'refused', 'half'} end
local RESERVED = prefix .. 'reserved'
local token, place = string.match(call('GET', RESERVED) or '', '^(%S+) (%S+)$')
if token == arg(1) and place ~= arg(2) then return {'taken', place} end
call('SET', RESERVED, arg(1) .. ' ' .. arg(2), 'PX', arg(3))
return OK
