-- list: which of these accounts are asked for, and what people want to know of them. args: state, the word that the reason begins
-- with, backend where it lives, rest of ms: a login within, none known within ('' and '0': any), users.
-- ok: the time in ms; then for each that is: user, state, backend, reason, failed, source, target, time of the next try ('0' none),
-- of the last flip, of the last login that is known, attempts, mailboxes done and of how many, messages, how many of them are
-- verified, bytes, tiers, how much is waived.
-- flags: no-writes
if not open() then return NOSTORE end
local state, word, backend, within, beyond = args()
local at, out = now(), {'ok'}
local FIELDS = {'state', 'backend', 'reason', 'failed', 'source', 'target', 'next_try', 'flipped_at', 'login', 'attempts',
                'mailboxes_done', 'mailboxes_total', 'messages_done', 'messages_total', 'messages_verified', 'bytes_done',
                'bytes_total', 'tiers'}
local TEXTS = {true, true, true, true, true, true, [18] = true}
out[2] = text(at)
for i = 6, nargs() do
    local f = try('HMGET', key('route', arg(i)), unpack(FIELDS)) or {}
    local login = number(f[9])
    if f[1] and (state == '' or f[1] == state) and (word == '' or string.match(f[3] or '', '^[%a_]+') == word) and
       (backend == '' or f[2] == backend) and (number(within) == 0 or login >= at - number(within)) and
       (number(beyond) == 0 or login < at - number(beyond)) then
        out[#out + 1] = arg(i)
        for k = 1, #FIELDS do out[#out + 1] = f[k] or (TEXTS[k] and '' or '0') end
        out[#out + 1] = text(try('HLEN', key('waivers', arg(i))) or 0)
    end
end
return out
