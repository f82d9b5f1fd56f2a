-- carry_read: all that is known of accounts of a store that was moved (move.lua), for the store that gets them (carry.lua). args: which of
-- them are meant ('' those that have a record; 1: those that have none, and of which something is waived; 2: those of which nothing is left but
-- that they were forgotten); users; none: what is of no account.
-- ok: for each account a list: of the thirteen that export.lua tells, and when it was forgotten last, in ms (0: never), by which the journals
-- of hosts, which know the switch-overs before, don't bring it back; then of each kind: kind, name, how many items it has, items.
-- Of a long ledger the first ones. An entry of a stream is one item, a list.
-- flags: no-writes
local id, generation, is_small = unpack(call('HMGET', STORE .. ':moved', 'id', 'generation', 'small'))
if not id or id ~= ARGV[1] then return NOSTORE end
S = {id = id, generation = number(generation), series = '', small = is_small == '1'}
local LEDGER_FIRST = 1000

local function add(out, kind, name, items, total)
    if #items == 0 then return end
    local all = {kind, name, text(total or #items)}
    for i = 1, #items do all[i + 3] = items[i] end
    out[#out + 1] = all
end

local function ledgers(out, user)
    local seen = {}
    for _, record in ipairs(try('HVALS', key('views', user)) or {}) do
        local of = string.match(record, ' id=(%x+)')
        local list = of and not seen[of] and key('ledger', user) .. ':' .. of
        if list then
            seen[of] = true
            add(out, 'ledger', of, try('LRANGE', list, 0, LEDGER_FIRST - 1) or {}, try('LLEN', list) or 0)
        end
    end
end

local function until_when(name)
    local left = call('PTTL', name)
    return left > 0 and text(now() + left) or '0'
end

local function stream(out, kind, user)
    local name, items = prefix .. kind .. ':' .. user, {}
    for _, entry in ipairs(try('XRANGE', name, '-', '+') or {}) do
        local one = {entry[1]}
        for i = 1, #entry[2] do one[i + 1] = entry[2][i] end
        items[#items + 1] = one
    end
    add(out, kind, until_when(name), items)
end

-- Also before it had this record. recall.h reads it so, too.
local function forgotten_at(user)
    for _, entry in ipairs(try('XREVRANGE', AUDIT .. ':' .. user, '+', '-') or {}) do
        for i = 1, #entry[2], 2 do
            if entry[2][i] == 'what' and entry[2][i + 1] == 'forget' then return string.match(entry[1], '^%d+') end
        end
    end
    return '0'
end

local function one_text(out, kind, user, name)
    local value = try('GET', key(kind, user))
    if value then add(out, kind, name, {value}) end
end

local hooks
local function hooks_of(user)
    local items = {}
    hooks = hooks or call('ZRANGE', HOOKS, '0', '-1', 'WITHSCORES')
    for i = 1, #hooks, 2 do
        if string.match(hooks[i], '[^\n]*$') == user then items[#items + 1], items[#items + 2] = hooks[i], hooks[i + 1] end
    end
    return items
end

local function account(user)
    local r = look(user)
    local out = {{r.user, r.backend, arg(1) == '2' and 'forgotten' or r.state, r.epoch, r.generation, r.source, r.target, r.home or '', r.left, r.flipped_at or '0',
                  r.held_from, r.reason, r.view, forgotten_at(user)}}
    local marks = {}
    add(out, 'route', '', call('HGETALL', key('route', user)))
    for _, kind in ipairs({'views', 'waivers', 'stamps'}) do add(out, kind, '', try('HGETALL', key(kind, user)) or {}) end
    ledgers(out, user)
    one_text(out, 'folded', user, '')
    one_text(out, 'report', user, '')
    one_text(out, 'secret', user, until_when(key('secret', user)))
    one_text(out, 'packed', user, until_when(key('packed', user)))
    stream(out, 'audit', user)
    stream(out, 'arrivals', user)
    for _, mark in ipairs(marks_of(user)) do
        if marked(mark) == user then marks[#marks + 1] = mark end
    end
    add(out, 'marks', '', marks)
    if late_at(user) > 0 then add(out, 'late', '', {text(late_at(user)), late_is_daily(user) and '1' or ''}) end
    add(out, 'hooks', '', hooks_of(user))
    return out
end

local function nobody()
    local out = {{}}
    add(out, 'backends', '', call('HGETALL', prefix .. 'backends'))
    add(out, 'waves', '', call('HGETALL', WAVES))
    for _, name in ipairs(try('SMEMBERS', SHARING) or {}) do add(out, 'group', name, try('HGETALL', group_key(name)) or {}) end
    return out
end

local function is_meant(user)
    if call('EXISTS', key('route', user)) == 1 then return arg(1) == '' end
    if call('EXISTS', key('waivers', user)) == 1 then return arg(1) == '1' end
    return arg(1) == '2' and forgotten_at(user) ~= '0'
end

local out = {'ok'}
if nargs() == 1 then out[2] = nobody() end
for i = 2, nargs() do
    if is_meant(arg(i)) then out[#out + 1] = account(arg(i)) end
end
return out
