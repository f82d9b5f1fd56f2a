-- view_change: a proxy changes records of an account that it serves: a mailbox was renamed, or is another one now. All of the
-- fields, or none. args: user, backend, epoch (as of view_read), then three for each field: name, record that it has to have now,
-- record that it gets ('': there is none). Repeated, it finds them as it left them.
-- ok: the view's new text, whose last number rises with each change; proxies hear of it by an event.
-- again: something is another one now, and has to be read first. wait: freezing, flipping. refused: a job is under way, whose
-- migrator has read the records already.
if not open() then return NOSTORE end
local r, views = route(arg(1)), key('views', arg(1))
if not r.exists or r.backend ~= arg(2) or r.epoch ~= arg(3) or r.view == '' then return {'again', r.state} end
local done, as_read = true, true
for i = 4, nargs() - 2, 3 do
    local is = call('HGET', views, arg(i)) or ''
    done = done and is == arg(i + 2)
    as_read = as_read and is == arg(i + 1)
end
if done then return {'ok', r.view} end
if FROZEN[r.state] then return {'wait', r.state} end
if OWNED[r.state] and r.owner ~= '' then return {'refused', r.state} end
if not as_read then return {'again', r.state} end
for i = 4, nargs() - 2, 3 do
    if arg(i + 2) == '' then call('HDEL', views, arg(i)) else call('HSET', views, arg(i), arg(i + 2)) end
end
local digest, n = string.match(r.view, '^(1[=<]?:m?%x*):?(%d*)$')
change(r, {view = (digest or r.view) .. ':' .. text(number(n) + 1)}, 'view')
return {'ok', r.view}
