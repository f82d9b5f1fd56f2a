-- late_note: what the look found, each an entry of the arrivals. args: user, token, epoch, texts. A text is written
-- once a look.
if not open() then return NOSTORE end
local r, mine = job()
if not mine or not WATCHED[r.state] then return {'lost', r.state} end
local written = {}
for _, entry in ipairs(call('XREVRANGE', ARRIVALS .. ':' .. r.user, '+', '-', 'COUNT', text(nargs() + 50))) do
    local f = {}
    for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
    if f.run == arg(2) then written[f.reason] = true end
end
for i = 4, nargs() do
    if not written[arg(i)] then
        write_entry(ARRIVALS, r.user, 'who', 'late watch', 'what', 'late', 'reason', arg(i), 'before', left_server(r), 'after',
                    r.backend, 'run', arg(2))
    end
end
return OK
