-- counts_read: how many accounts are in each state and on each backend, and what they have together ("sum:bytes_done"). ok: 1 where
-- all are counted, 0 while they are not; then pairs of name and number.
-- flags: no-writes
if not open() then return NOSTORE end
local flat, whole, out = call('HGETALL', COUNTS), '0', {'ok', '0'}
for i = 1, #flat, 2 do
    if flat[i] == 'whole' then
        whole = flat[i + 1] == S.series and '1' or '0'
    elseif flat[i + 1] ~= '0' and flat[i] ~= 'listed' then
        out[#out + 1], out[#out + 2] = flat[i], flat[i + 1]
    end
end
out[2] = whole
return out
