/* The format of an entry: one line of words with one blank between, no line feed.
 *
 *   1 bind <source UIDVALIDITY> <target UIDVALIDITY>
 *   1 intent <target UIDNEXT> <set of source UIDs>
 *   1 done <row> <row> ...
 *   1 verified <set of source UIDs>
 *   1 gone <set of source UIDs>
 *   1 settled <set of source UIDs or ->
 *   1 void
 *   1 pair <source backend> <target backend>
 *   2 skipped <set of source UIDs>
 *   2 looked <source UIDNEXT>
 *   2 retake <set of source UIDs>
 *   3 sent <row> <row> ...
 *   3 landed <set of source UIDs> <set of target UIDs>
 *   4 headers <set of source UIDs>
 *   5 folded <source backend> <target backend> <text of folded.h>
 *   5 store <number> <set of target UIDs> (<flags>) <set of target UIDs> (<flags>) ...
 *   5 expunge <number> <set of target UIDs>
 *   5 mailbox <number>
 *   5 touched <number>
 *   5 told <set of target UIDs>
 *   6 fill <id of the fillers> <set of numbers>
 *   6 filled <set of numbers> <set of target UIDs>
 *   6 unfilled <set of target UIDs>
 *   6 refused <set of numbers>
 *   6 latefill <set of numbers>
 *   7 move <number> <target UIDNEXT> <row> <row> ...
 *   7 moved <UID>,<UID of its copy> <UID>,<UID of its copy> ...
 *   7 clearing <set of target UIDs>
 *   7 cleared <set of target UIDs>
 *   7 renewal <target UIDVALIDITY>
 *
 * The number is the version of imapferry's ledgers that the kind of entry came with. A row is "source
 * UID,target UID,size,SHA-256 in base64", with ",v" behind it where it is verified; in "sent" the target UID
 * is 0, and in "move" too, whose source UIDs are UIDs of the target. Of "landed" the sets name as many messages, in this order. Sets are spelled as in IMAP ("1:3,7").
 * What is written goes through the same reader as what is loaded, after Redis has it, so that memory can't
 * know more than a later load. An entry that this version can't read refuses the whole ledger: to guess would
 * be to copy twice. */

#include <assert.h>
#include <stdlib.h>

#include "lib/base64.h"
#include "lib/xalloc.h"

#include "folded.h"
#include "hasher.h"
#include "ledger_priv.h"

enum { SET_RANGES_MAX = 4 * 1000 * 1000 }; /* no two messages of a mailbox side by side (mbox_list.h) */

/* --- reading --- */

/* Cuts the text up to the next `by` off *s; false where nothing is left. */
static bool ledger_take_word(struct span *s, char by, struct span *_word)
{
    if (s->len == 0)
        return false;
    const uint8_t *end = memchr(s->p, by, s->len);
    *_word = span_of(s->p, end ? (size_t)(end - s->p) : s->len);
    size_t eaten = _word->len + (end ? 1 : 0);
    *s = span_of(s->p + eaten, s->len - eaten);
    return _word->len > 0;
}

static bool take_u32(struct span *s, char by, uint32_t *_n)
{
    struct span word;
    return ledger_take_word(s, by, &word) && span_u32(word, _n);
}

static bool take_set(struct span s, struct imap_seq *_set)
{
    return imap_seq_parse(_set, s, 0, SET_RANGES_MAX);
}

static bool read_bind(struct ledger *l, struct span s)
{
    uint32_t source, target;
    if (!take_u32(&s, ' ', &source) || !take_u32(&s, ' ', &target) || s.len > 0)
        return false;
    l->bound = true;
    l->source_uidvalidity = source;
    l->target_uidvalidity = target;
    return true;
}

static bool read_renewal(struct ledger *l, struct span s)
{
    uint32_t target;
    if (!take_u32(&s, ' ', &target) || s.len > 0)
        return false;
    imap_seq_add(&l->renewals, target, target);
    return true;
}

static bool read_intent(struct ledger *l, struct span s)
{
    struct imap_seq uids = {0};
    uint32_t uidnext;
    if (!take_u32(&s, ' ', &uidnext) || !take_set(s, &uids))
        return false;
    ledger_add_intent(l, uidnext, &uids);
    return true;
}

static bool ledger_read_hash(struct span text, uint8_t hash[HASH_SIZE])
{
    struct buf bytes = {0};
    bool ok = base64_decode(&bytes, text) && bytes.len == HASH_SIZE;
    if (ok)
        memcpy(hash, buf_span(&bytes).p, HASH_SIZE);
    buf_free(&bytes);
    return ok;
}

/* The target UID may be 0. */
static bool read_any_row(struct span s, struct ledger_row *row)
{
    struct span size_text, hash, flag;
    uint64_t size;
    *row = (struct ledger_row){0};
    if (!take_u32(&s, ',', &row->source_uid) || !take_u32(&s, ',', &row->target_uid) ||
        !ledger_take_word(&s, ',', &size_text) || !span_u64(size_text, INT64_MAX / 2, &size) ||
        !ledger_take_word(&s, ',', &hash) || !ledger_read_hash(hash, row->hash))
        return false;
    row->size = size;
    row->verified = ledger_take_word(&s, ',', &flag);
    return s.len == 0 && (!row->verified || span_is(flag, "v")) && row->source_uid > 0;
}

static bool read_row(struct span s, struct ledger_row *row)
{
    return read_any_row(s, row) && row->target_uid > 0;
}

static bool read_done(struct ledger *l, struct span s)
{
    struct span word;
    struct ledger_row row;
    while (ledger_take_word(&s, ' ', &word)) {
        if (!read_row(word, &row))
            return false;
        ledger_put_row(l, &row);
        ledger_drop_sent(l, row.source_uid, row.source_uid);
    }
    ledger_drop_done_intents(l);
    return s.len == 0;
}

static bool read_sent(struct ledger *l, struct span s)
{
    struct span word;
    struct ledger_row row;
    while (ledger_take_word(&s, ' ', &word)) {
        if (!read_any_row(word, &row) || row.target_uid > 0 || row.verified)
            return false;
        ledger_put_sent(l, &row);
    }
    return s.len == 0;
}

static bool read_landed(struct ledger *l, struct span s)
{
    struct imap_seq sources = {0}, targets = {0};
    struct span word;
    bool ok = ledger_take_word(&s, ' ', &word) && take_set(word, &sources) && take_set(s, &targets) &&
              ledger_land(l, &sources, &targets);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    return ok;
}

static bool read_verified(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    ledger_mark_verified(l, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_headers(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    ledger_mark_headers(l, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_gone(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    ledger_drop_gone(l, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_retake(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    imap_seq_join(&l->retake, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_looked(struct ledger *l, struct span s)
{
    uint32_t uidnext;
    if (!take_u32(&s, ' ', &uidnext) || s.len > 0)
        return false;
    if (uidnext > l->looked)
        l->looked = uidnext;
    return true;
}

static bool read_told(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    imap_seq_join(&l->told, &set);
    imap_seq_free(&set);
    return true;
}

static void remove_set(struct imap_seq *from, const struct imap_seq *set)
{
    for (size_t r = 0; r < set->n; r++)
        imap_seq_remove(from, set->ranges[r].first, set->ranges[r].last);
}

/* Fillers of two ids can't be told from each other by their numbers. */
static bool read_fill(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    struct span id;
    if (!ledger_take_word(&s, ' ', &id) || id.len != LEDGER_FILLER_ID || !take_set(s, &set))
        return false;
    bool same = !*l->filler_id || span_is(id, l->filler_id);
    memcpy(l->filler_id, id.p, id.len);
    imap_seq_join(&l->fillers.sent, &set);
    imap_seq_join(&l->fillers.open, &set);
    imap_seq_free(&set);
    return same;
}

static void give_set(struct ledger *l, const struct imap_seq *uids)
{
    for (size_t r = 0; r < uids->n; r++)
        for (uint64_t uid = uids->ranges[r].first; uid <= uids->ranges[r].last; uid++)
            ledger_give(l, (uint32_t)uid);
}

static bool read_filled(struct ledger *l, struct span s)
{
    struct imap_seq numbers = {0}, uids = {0};
    struct span word;
    bool ok = ledger_take_word(&s, ' ', &word) && take_set(word, &numbers) && take_set(s, &uids) &&
              imap_seq_count(&numbers) == imap_seq_count(&uids);
    if (ok) {
        remove_set(&l->fillers.open, &numbers);
        imap_seq_join(&l->fillers.there, &uids);
        give_set(l, &uids);
    }
    imap_seq_free(&numbers);
    imap_seq_free(&uids);
    return ok;
}

static bool read_unfilled(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    remove_set(&l->fillers.there, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_refused(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    remove_set(&l->fillers.open, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_latefill(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    remove_set(&l->fillers.open, &set);
    imap_seq_join(&l->fillers.late, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_skipped(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    ledger_skip(l, &set);
    imap_seq_free(&set);
    return true;
}

/* "(\Seen $Label)", and a blank where more follows. */
static bool take_flags(struct span *s, char **_flags)
{
    const uint8_t *end = memchr(s->p, ')', s->len);
    if (!end || s->p[0] != '(')
        return false;
    *_flags = xspandup(span_of(s->p + 1, (size_t)(end - s->p) - 1));
    size_t eaten = (size_t)(end - s->p) + 1;
    *s = span_of(s->p + eaten, s->len - eaten);
    if (s->len == 0)
        return true;
    bool blank = s->p[0] == ' ';
    *s = span_of(s->p + 1, s->len - 1);
    return blank && s->len > 0;
}

static bool read_store(struct ledger *l, struct span s)
{
    struct span word;
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || s.len == 0)
        return false;
    while (s.len > 0) {
        struct touch *t = ledger_add_touch(l, number);
        if (!ledger_take_word(&s, ' ', &word) || !take_set(word, &t->uids) || s.len == 0 ||
            !take_flags(&s, &t->flags))
            return false;
    }
    return true;
}

static bool read_expunge(struct ledger *l, struct span s)
{
    uint32_t number;
    return take_u32(&s, ' ', &number) && take_set(s, &ledger_add_touch(l, number)->uids);
}

static bool read_mailbox(struct ledger *l, struct span s)
{
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || s.len > 0)
        return false;
    ledger_add_touch(l, number);
    return true;
}

static bool read_touched(struct ledger *l, struct span s)
{
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || s.len > 0)
        return false;
    ledger_end_touch(l, number);
    return true;
}

static bool read_move(struct ledger *l, struct span s)
{
    struct ledger_move move = {0};
    struct ledger_row row;
    struct span word;
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || !take_u32(&s, ' ', &move.from) || s.len == 0)
        return false;
    ledger_add_touch(l, number);
    while (ledger_take_word(&s, ' ', &word)) {
        if (!read_any_row(word, &row) || row.target_uid > 0)
            return false;
        move.uid = row.source_uid;
        move.size = row.size;
        memcpy(move.hash, row.hash, HASH_SIZE);
        ledger_put_move(l, &move);
    }
    return s.len == 0;
}

static bool read_moved(struct ledger *l, struct span s)
{
    struct span word;
    uint32_t uid, to_uid;
    while (ledger_take_word(&s, ' ', &word)) {
        if (!take_u32(&word, ',', &uid) || !take_u32(&word, ',', &to_uid) || word.len > 0 || to_uid == 0)
            return false;
        struct ledger_move *move = ledger_find_move(l, uid);
        if (move)
            move->to_uid = to_uid;
    }
    return s.len == 0;
}

static bool read_clearing(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    for (size_t i = 0; i < l->n_moves; i++)
        l->moves[i].clearing = l->moves[i].clearing || imap_seq_has(&set, l->moves[i].uid);
    imap_seq_free(&set);
    return true;
}

static bool read_cleared(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    ledger_drop_moves(l, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_settled(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!span_is(s, "-") && !take_set(s, &set))
        return false;
    ledger_end_doubt(l, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_void(struct ledger *l, struct span s)
{
    ledger_clear(l);
    return s.len == 0;
}

/* What was told to a mailbox may reach it when nothing is known of it any more, but no other mailbox. */
static void ledger_forget_all(struct ledger *l)
{
    ledger_clear(l);
    imap_seq_free(&l->renewals);
}

static bool ledger_read_direction(struct ledger *l, struct span s)
{
    struct span source, target;
    if (!ledger_take_word(&s, ' ', &source) || !ledger_take_word(&s, ' ', &target) || s.len > 0)
        return false;
    if (l->source && span_is(source, l->source) && span_is(target, l->target))
        return true;
    if (l->source && span_is(source, l->target) && span_is(target, l->source))
        ledger_turn(l);
    else
        ledger_forget_all(l);
    ledger_set_direction(l, source, target);
    return true;
}

static void on_folded_row(void *owner, const struct ledger_row *row)
{
    ledger_put_row(owner, row);
}

static bool read_folded(struct ledger *l, struct span s)
{
    struct folded f;
    struct span source, target;
    if (!ledger_take_word(&s, ' ', &source) || !ledger_take_word(&s, ' ', &target))
        return false;
    ledger_forget_all(l);
    if (!folded_read(s, &f, on_folded_row, l))
        return false;
    ledger_set_direction(l, source, target);
    l->bound = f.bound;
    l->source_uidvalidity = f.source_uidvalidity;
    l->target_uidvalidity = f.target_uidvalidity;
    l->turned = f.turned;
    l->looked = f.looked;
    return true;
}

static const struct {
    const char *word, *version;
    bool (*read)(struct ledger *l, struct span rest);
} kinds[] = {{"bind", "1", read_bind},
             {"intent", "1", read_intent},
             {"done", "1", read_done},
             {"verified", "1", read_verified},
             {"gone", "1", read_gone},
             {"settled", "1", read_settled},
             {"void", "1", read_void},
             {"skipped", "2", read_skipped},
             {"looked", "2", read_looked},
             {"retake", "2", read_retake},
             {"pair", "1", ledger_read_direction},
             {"sent", "3", read_sent},
             {"landed", "3", read_landed},
             {"headers", "4", read_headers},
             {"store", "5", read_store},
             {"expunge", "5", read_expunge},
             {"mailbox", "5", read_mailbox},
             {"touched", "5", read_touched},
             {"renewal", "7", read_renewal},
             {"folded", "5", read_folded},
             {"told", "5", read_told},
             {"fill", "6", read_fill},
             {"filled", "6", read_filled},
             {"unfilled", "6", read_unfilled},
             {"refused", "6", read_refused},
             {"latefill", "6", read_latefill},
             {"move", "7", read_move},
             {"moved", "7", read_moved},
             {"clearing", "7", read_clearing},
             {"cleared", "7", read_cleared}};

const char *ledger_version_of(const char *word)
{
    for (size_t i = 0; i < COUNTOF(kinds); i++)
        if (!strcmp(kinds[i].word, word))
            return kinds[i].version;
    assert(!"a kind of entry");
    return "";
}

bool ledger_read_entry(struct ledger *l, struct span s)
{
    struct span version, word;
    if (!ledger_take_word(&s, ' ', &version) || !ledger_take_word(&s, ' ', &word))
        return false;
    for (size_t i = 0; i < COUNTOF(kinds); i++)
        if (span_is(word, kinds[i].word) && span_is(version, kinds[i].version))
            return kinds[i].read(l, s);
    return false;
}

bool ledger_is_folded(struct span s)
{
    struct span version, word;
    return ledger_take_word(&s, ' ', &version) && ledger_take_word(&s, ' ', &word) && span_is(word, "folded");
}

/* --- writing --- */

void ledger_write_row(struct buf *out, const struct ledger_row *row, uint32_t target_uid)
{
    buf_printf(out, " %u,%u,%llu,", row->source_uid, target_uid, (unsigned long long)row->size);
    base64_encode(out, span_of(row->hash, HASH_SIZE));
    if (row->verified)
        buf_add_str(out, ",v");
}

void ledger_write_set(struct buf *out, const struct imap_seq *set)
{
    assert(set->n > 0);
    buf_add_str(out, " ");
    imap_seq_write(out, set);
}

void ledger_write_uids(struct buf *out, const uint32_t *uids, size_t n)
{
    struct imap_seq set = {0};
    for (size_t i = 0; i < n; i++)
        imap_seq_add(&set, uids[i], uids[i]);
    ledger_write_set(out, &set);
    imap_seq_free(&set);
}
