-- proxies_read: all incarnations that are known. ok: generation, then for each its name, its counter and the long term of its
-- lease in ms ('' where it told none).
-- flags: no-writes
if not open() then return NOSTORE end
local out, names = {'ok', stamp()}, call('HKEYS', PROXIES)
for _, name in ipairs(names) do
    local p = proxy(name)
    out[#out + 1], out[#out + 2], out[#out + 3] = name, p.counter, p.long or ''
end
return out
