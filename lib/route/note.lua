-- note: what staff did to many accounts, as one entry of the audit stream. args: run, who, what, reason, after.
if not open() then return NOSTORE end
for _, entry in ipairs(call('XREVRANGE', AUDIT, '+', '-', 'COUNT', '20')) do
    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'run' and entry[2][i + 1] == arg(1) then return OK end
    end
end
call('XADD', AUDIT, 'MAXLEN', '~', 100000, '*', 'who', arg(2), 'what', arg(3), 'user', '', 'reason', arg(4),
     'before', '', 'after', arg(5), 'run', arg(1))
return OK
