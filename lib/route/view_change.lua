-- view_change: a proxy changes records of an account that it serves: a mailbox was renamed, or is another one now. All of the
-- fields, or none. args: user, backend, epoch (as of view_read), then three for each field: name, record that it has to have now,
-- record that it gets ('': there is none). Repeated, it finds them as it left them.
-- ok: the view's new text, whose last number rises with each change; proxies hear of it by an event.
-- again: something is another one now, and has to be read first. wait: freezing, flipping. refused: a job is under way, whose
-- migrator has read the records already; but what only makes clients see a greater UIDVALIDITY is taken, since the migrator looks
-- for that once more in the freeze (records_merge()).

-- The same mailbox's record, or a grave where there was none, by which clients start again. Names in it have no blanks.
local function is_raised(was, is)
    local id, source, target = string.match(is, '^1 id=(%x+) .* uidvalidity=(%d+),(%d+) .* tier=T3 ')
    if was ~= '' then return id and id == string.match(was, '^1 id=(%x+) ') end
    return source == '0' and target == '0'
end

if not open() then return NOSTORE end
local r, views = route(arg(1)), key('views', arg(1))
if not r.exists or r.backend ~= arg(2) or r.epoch ~= arg(3) or r.view == '' then return {'again', r.state} end
local done, as_read, raised = true, true, true
for i = 4, nargs() - 2, 3 do
    local is = call('HGET', views, arg(i)) or ''
    done = done and is == arg(i + 2)
    as_read = as_read and is == arg(i + 1)
    raised = raised and is_raised(arg(i + 1), arg(i + 2))
end
if done then return {'ok', r.view} end
if FROZEN[r.state] then return {'wait', r.state} end
if OWNED[r.state] and r.owner ~= '' and not raised then return {'refused', r.state} end
if not as_read then return {'again', r.state} end
for i = 4, nargs() - 2, 3 do
    if arg(i + 2) == '' then call('HDEL', views, arg(i)) else call('HSET', views, arg(i), arg(i + 2)) end
end
local digest, n = string.match(r.view, '^(1[=<]?:m?%x*):?(%d*)$')
change(r, {view = (digest or r.view) .. ':' .. text(number(n) + 1)}, 'view')
return {'ok', r.view}
