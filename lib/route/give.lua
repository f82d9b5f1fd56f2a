-- give: a migrator that lives lets go of a job that has not ended. args: user, token ('' where it never claimed it), 1 for
-- the bulk stream, id, group, its name in the group, its job_lease in ms. Another one may take it at once.
-- Where that happened before, since this one stood still or had no Redis, it tells that it has not died with the job.
if not open() then return NOSTORE end
local r, token = route(arg(1)), arg(2)
local stream = arg(3) == '1' and BULK or JOBS
if token ~= '' and r.owner == token then
    change(r, {given = token})
elseif token ~= '' and string.find(r.died, token, 1, true) then
    change(r, {died = without(r.died, token)})
end
-- It comes late: the caller has taken the entry once more, and works on it.
local works = OWNED[r.state] and r.owner ~= '' and r.owner ~= token and r.given ~= r.owner and r.at == encode(arg(6))
if not works and has_entry(stream, arg(5), arg(6), arg(4)) then
    call('XCLAIM', stream, arg(5), arg(6), '0', arg(4), 'IDLE', text(longest_term(number(arg(7)))), 'JUSTID')
end
return OK
