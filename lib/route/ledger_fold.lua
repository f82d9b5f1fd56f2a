-- ledger_fold: the owner puts what is left of a ledger in the place of its list. args: user, token, epoch, record id, how
-- many entries the list had, source, target, text (migrator/mailbox/folded.h), entries that stay in the list.
-- again: the list is another one by now.
if not open() then return NOSTORE end
local r, mine = job()
if not mine then return {'lost', r.state} end
local list, stay, same = key('ledger', r.user) .. ':' .. arg(4), nargs() - 8, true
local now_there = call('LLEN', list)
for i, e in ipairs(now_there == stay and call('LRANGE', list, 0, -1) or {}) do same = same and e == arg(8 + i) end
same = same and now_there == stay
if same and folded_find(r.user, arg(4)) == folded_entry(arg(6), arg(7), arg(8)) then return OK end
if now_there ~= number(arg(5)) then return {'again', text(now_there)} end
folded_put(r.user, arg(4), arg(6), arg(7), arg(8))
call('UNLINK', list)
for i = 1, stay do call('RPUSH', list, arg(8 + i)) end
return OK
