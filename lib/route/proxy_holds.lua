-- proxy_holds: what incarnations have of some accounts. args: how many incarnations, these, users. ok: sessions, accounts, and of
-- these accounts how many are being moved.
-- flags: no-writes
if not open() then return NOSTORE end
local n, wanted, all, accounts, moved = number(arg(1)), {}, 0, 0, 0
for i = 2, n + 1 do wanted[arg(i)] = true end
for i = n + 2, nargs() do
    local mine = 0
    for _, name in ipairs(try('HKEYS', key('sessions', arg(i))) or {}) do
        if wanted[string.match(name, '^(.*)/[^/]*$') or name] then mine = mine + 1 end
    end
    all, accounts = all + mine, accounts + (mine > 0 and 1 or 0)
    if mine > 0 and UNDER_WAY[try('HGET', key('route', arg(i)), 'state') or ''] then moved = moved + 1 end
end
return {'ok', text(all), text(accounts), text(moved)}
