-- penalty: failed logins make those who failed wait (../../proxy/penalty.h). args: what has happened, the account, the network (a
-- word), 1 where many people are known to come from there, so that only their accounts count, ms until failures are forgotten,
-- the first wait, the longest, how many failures a network has for nothing, and how far ahead turns are given. What happens:
--   failed  a wrong password
--   turn    somebody wants to try one: from when on is told, and the next one is later. late: there are too many before
--   passed  a right one
-- ok or late: ms to wait, failures of the account from this network, of the network.
-- PREFIX:penalty has "failures free-from ends good" of each network ('n'), account ('a'), and account from a network ('p'), by
-- names of a fixed length, since these may be anything that somebody typed; PREFIX:penalty:ends is by when each is forgotten,
-- and those that are first there make room. No clock that jumps makes anybody wait for long: a time that can't be is none.
if not open() then return NOSTORE end
local what, user, network = arg(1), string.sub(redis.sha1hex(arg(2)), 1, 16), arg(3)
local memory, first, longest, free, ahead = number(arg(5)), number(arg(6)), number(arg(7)), number(arg(8)), number(arg(9))
local ALL, ENDS, MOST, GOOD = prefix .. 'penalty', prefix .. 'penalty:ends', 100000, 6
local t = now()
local names = {'p' .. user .. network, 'a' .. user, arg(4) ~= '1' and 'n' .. network or nil}

local function parse(v)
    local n, from, ends, good = string.match(v or '', '^(%d+) (%d+) (%d+) (%d)$')
    n, from, ends = number(n), number(from), number(ends)
    if ends <= t or ends > t + GOOD * memory then return {n = 0, from = t, good = false} end
    if from > t + ahead + longest then from = t end
    return {n = n, from = math.max(from, t), good = good == '1', ends = ends}
end

local function wait(n) return n < 1 and 0 or math.min(longest, first * 2 ^ math.min(n - 1, 20)) end

local v = call('HMGET', ALL, unpack(names))
local pair, account, net = parse(v[1]), parse(v[2]), parse(v[3])

-- After a failure here, the account's from anywhere count too; a network has some for nothing.
local function gap_of_pair() return pair.n > 0 and wait(math.max(pair.n, account.n)) or 0 end
local function gap_of_net() return wait(net.n - free) end

local start, status = t, 'ok'
if what == 'failed' then
    for _, e in ipairs({pair, account, names[3] and net}) do e.n, e.ends, e.changed = math.min(e.n + 1, 1000000), t + memory, true end
    pair.good = false
    pair.from = math.max(pair.from, t + gap_of_pair())
    net.from = math.max(net.from, t + gap_of_net())
elseif what == 'passed' then
    pair = {n = 0, from = t, ends = t + GOOD * memory, good = true, changed = true}
else
    local of_pair, of_net = gap_of_pair(), pair.good and 0 or gap_of_net()
    if of_pair > 0 then start = math.max(start, pair.from) end
    if of_net > 0 then start = math.max(start, net.from) end
    if start > t + ahead then
        status = 'late'
    else
        if of_pair > 0 then pair.from, pair.changed = start + of_pair, true end
        if of_net > 0 then net.from, net.changed = start + math.min(of_net, first), true end
    end
end

local function put(name, e)
    if not name or not e.changed then return end
    call('HSET', ALL, name, table.concat({text(e.n), text(e.from), text(e.ends), e.good and '1' or '0'}, ' '))
    call('ZADD', ENDS, text(e.ends), name)
end

local function drop(gone)
    if #gone == 0 then return end
    call('HDEL', ALL, unpack(gone))
    call('ZREM', ENDS, unpack(gone))
end

put(names[1], pair)
put(names[2], account)
put(names[3], net)
if what ~= 'turn' then
    drop(call('ZRANGEBYSCORE', ENDS, '-inf', text(t), 'LIMIT', '0', '10'))
    local over = call('ZCARD', ENDS) - MOST
    if over > 0 then drop(call('ZRANGE', ENDS, '0', text(math.min(over, 10) - 1))) end -- 3 have come
    call('PEXPIRE', ALL, text(GOOD * memory))
    call('PEXPIRE', ENDS, text(GOOD * memory))
end
return {status, text(start - t), text(pair.n), text(net.n)}
