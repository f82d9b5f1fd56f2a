#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "selected.h"

enum {
    TRIES = 3,
    GROWN_MAX = 20,
    SEARCHED_UIDS = 100 * 1000, /* by one command */
    SEARCHES_MAX = 100,
    APART_MAX = 50 /* messages that are asked for item by item */
};

#define ITEMS " (UID FLAGS INTERNALDATE RFC822.SIZE)"

void selected_init(struct selected *s, struct imapc *imap, struct flags_pool *pool, const char *name,
                   const char *side, bool examine)
{
    *s = (struct selected){.imap = imap, .name = name, .side = side, .examine = examine};
    mbox_list_init(&s->list, pool);
}

void selected_free(struct selected *s)
{
    imapc_forget(s->imap, s);
    mbox_list_free(&s->list);
    imap_seq_free(&s->wanted);
    imap_seq_free(&s->found);
    free(s->refused);
    s->refused = NULL;
}

static void selected_end(struct selected *s, enum copy_rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void selected_end(struct selected *s, enum copy_rc rc, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    s->phase = SELECTED_IDLE;
    s->fn(s->owner, rc, buf_str(&why));
    buf_free(&why);
}

/* A command that came too late would be about the mailbox that is selected by then. */
struct imapc *selected_imap(const struct selected *s)
{
    assert(!s->given);
    return s->imap;
}

const char *selected_wrong(const struct selected *s)
{
    return s->wrong;
}

bool selected_vanished(const struct selected *s)
{
    return s->vanished;
}

uint32_t selected_uidnext(const struct selected *s)
{
    uint32_t last = s->list.listed > 0 ? s->list.msgs[s->list.listed - 1].uid : 0;
    if (s->uidnext > last)
        return s->uidnext;
    return last == UINT32_MAX ? last : last + 1;
}

/* --- what the server says --- */

static void take_permanent(struct selected *s, struct span args)
{
    static const struct imap_tree_limits limits = {4, FLAGS_PER_MESSAGE_MAX + 2, 64 * 1024, .lenient = true};
    struct imap_tree *tree = imap_tree_new(&limits);
    const struct imap_value *list;
    const char *why;
    uint32_t set;
    bool told = imap_tree_text(tree, args, &why) && imap_tree_done(tree, &why);
    if (told && (list = imap_tree_first(tree)) && list->kind == IMAP_LIST) {
        s->permanent.given = true; /* a flag that is none is not among them */
        (void)!flags_add(s->list.pool, list, &set, &why);
        s->permanent.listed = set;
        s->permanent.any_keyword = flags_has(s->list.pool, set, "\\*");
    }
    imap_tree_free(&tree);
}

static bool selected_take_code(struct selected *s, struct span code)
{
    struct span args;
    uint32_t n;
    if (imap_code_is(code, "UIDVALIDITY", &args))
        s->uidvalidity = span_u32(args, &n) ? n : 0;
    else if (imap_code_is(code, "UIDNEXT", &args))
        s->uidnext = span_u32(args, &n) ? n : 0;
    else if (imap_code_is(code, "HIGHESTMODSEQ", &args))
        s->modseq = span_u64(args, UINT64_MAX, &s->modseq) ? s->modseq : 0;
    else if (imap_code_is(code, "PERMANENTFLAGS", &args))
        take_permanent(s, args);
    else
        return false;
    return true;
}

static void take_exists(struct selected *s, uint32_t n)
{
    if (s->phase == SELECTED_OPENING)
        mbox_list_clear(&s->list); /* what came before was about the mailbox before */
    else if (n <
             s->list.n) /* the number may only rise (RFC 3501 5.2, 7.4.1): nobody knows which ones are gone */
        s->wrong = "fewer messages than before, and no EXPUNGE";
    s->exists_told = true;
    if (!mbox_list_exists(&s->list, n))
        s->wrong = "more messages than this program can list";
}

static enum imapc_taken take_fetch(struct selected *s, uint32_t seq, const struct imap_value *data)
{
    const char *why;
    if (!data && s->phase == SELECTED_LISTING && !s->apart) { /* asked for once more, and named then */
        s->broken = true;
        return IMAPC_TAKEN;
    }
    if (s->phase == SELECTED_OPENING || mbox_list_fetch(&s->list, seq, data, &why))
        return IMAPC_TAKEN;
    if (!s->list.contradicts)
        return IMAPC_ODD;
    s->wrong = why;
    return IMAPC_TAKEN;
}

static void selected_note_modseq(struct selected *s, uint64_t modseq)
{
    if (modseq > s->modseq_told)
        s->modseq_told = modseq;
}

static enum imapc_taken selected_take_status(struct selected *s, const struct imap_value *data)
{
    if (!stamp_status_is_whole(data))
        return IMAPC_ODD;
    const struct imap_value *numbers = imap_value_at(data, 1);
    uint32_t n;
    if (imap_value_u32(imap_value_get(numbers, "UIDNEXT"), &n))
        s->uidnext = n;
    if (imap_value_get(numbers, "APPENDLIMIT")) /* NIL: none */
        s->limited = imap_value_u64(imap_value_get(numbers, "APPENDLIMIT"), &s->appendlimit);
    s->told = (struct stamp_side){0};
    if (imap_value_u32(imap_value_get(numbers, "MESSAGES"), &s->told.messages))
        stamp_side_take(&s->told, numbers);
    selected_note_modseq(s, s->told.modseq);
    return IMAPC_TAKEN;
}

/* What is said a second time counts once ("9:*" is the last message where none is above), and nothing makes
 * us sort or keep more than is of use. */
static void add_found(struct selected *s, struct imap_range r)
{
    uint32_t last = s->found.n > 0 ? s->found.ranges[s->found.n - 1].last : 0;
    if (r.first > last && s->found.n < MBOX_MESSAGES_MAX)
        imap_seq_add(&s->found, r.first, r.last);
}

/* [(TAG "x")] [UID] [ALL 1:4,9]. Numbers that don't add up are found out by the check that follows. */
static enum imapc_taken take_search(struct selected *s, const struct imap_value *data)
{
    struct imap_seq uids = {0};
    const struct imap_value *v = data;
    if (s->searching == 0)
        return IMAPC_NOT_MINE;
    v = v && v->kind == IMAP_LIST ? v->next : v;
    v = imap_value_is(v, "UID") ? v->next : v;
    bool empty = !v && data; /* nothing found (RFC 4731 3.1) */
    bool whole = imap_value_is(v, "ALL") && v->next && v->next->kind == IMAP_ATOM && !v->next->next &&
                 imap_seq_parse(&uids, v->next->text, 0, MBOX_MESSAGES_MAX);
    for (size_t i = 0; whole && i < uids.n; i++)
        add_found(s, uids.ranges[i]);
    imap_seq_free(&uids);
    return empty || whole ? IMAPC_TAKEN : IMAPC_ODD;
}

static enum imapc_taken taken_if(bool mine)
{
    return mine ? IMAPC_TAKEN : IMAPC_NOT_MINE;
}

static enum imapc_taken selected_take_number(struct selected *s, const struct imap_resp *resp)
{
    if (span_is_ci(resp->word, "EXISTS"))
        take_exists(s, resp->number);
    else if (span_is_ci(resp->word, "EXPUNGE"))
        mbox_list_expunge(&s->list, resp->number);
    else
        return taken_if(span_is_ci(resp->word, "FLAGS") || span_is_ci(resp->word, "RECENT"));
    return IMAPC_TAKEN;
}

/* Servers may answer the STATUS of who has the connection now before they have ended a FETCH of ours. */
static bool selected_is_status_of_another(const struct selected *s, const struct imap_value *data)
{
    struct span name;

    return s->given && imap_value_string(imap_value_at(data, 0), &name) && !span_is(name, s->name) &&
           !(span_is_ci(name, "INBOX") && !strcasecmp(s->name, "INBOX"));
}

enum imapc_taken selected_data(struct selected *s, const struct imap_resp *resp,
                               const struct imap_value *data)
{
    if (resp->kind == RESP_STATUS)
        return taken_if(s->phase == SELECTED_OPENING && resp->status == STATUS_OK &&
                        selected_take_code(s, resp->code));
    if (span_is_ci(resp->word, "FETCH"))
        return take_fetch(s, resp->number, data);
    if (span_is_ci(resp->word, "ESEARCH"))
        return take_search(s, data);
    if (span_is_ci(resp->word, "STATUS"))
        return selected_is_status_of_another(s, data) ? IMAPC_NOT_MINE : selected_take_status(s, data);
    return selected_take_number(s, resp);
}

static enum imapc_taken selected_on_data(void *owner, const struct imap_resp *resp,
                                         const struct imap_value *data)
{
    return selected_data(owner, resp, data);
}

/* --- listing --- */

static void selected_on_end(void *owner, const struct imapc_end *e);

static void selected_on_odd(void *owner, const struct imapc_odd *odd)
{
    const struct selected *s = owner;
    s->odd(s->odd_owner, odd);
}

static struct imapc_command selected_command(struct selected *s, imapc_end_fn fn)
{
    return (struct imapc_command){
        .data = selected_on_data, .end = fn, .owner = s, .odd = s->odd ? selected_on_odd : NULL};
}

static void send_text(struct selected *s, imapc_end_fn fn, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void send_text(struct selected *s, imapc_end_fn fn, const char *fmt, ...)
{
    const struct imapc_command cmd = selected_command(s, fn);
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    s->outstanding++;
    imapc_sendf(selected_imap(s), &cmd, "%s", buf_str(&text));
    buf_free(&text);
}

/* A command with the name of the mailbox. */
static void send_named(struct selected *s, imapc_end_fn fn, const char *verb, const char *behind)
{
    const struct imapc_command cmd = selected_command(s, fn);
    s->outstanding++;
    imapc_send_named(selected_imap(s), &cmd, verb, s->name, behind);
}

static void send_fetches(struct selected *s)
{
    struct buf set = {0};
    s->at = (struct uidset_place){0};
    while (uidset_next(&s->wanted, &s->at, 0, &set))
        send_text(s, selected_on_end, "UID FETCH %s" ITEMS, buf_str(&set));
    buf_free(&set);
}

static void selected_list_again(struct selected *s, uint32_t seq)
{
    uint32_t last = seq > 1 ? s->list.msgs[seq - 2].uid : 0;
    imap_seq_free(&s->wanted);
    imap_seq_add(&s->wanted, last == UINT32_MAX ? last : last + 1, UINT32_MAX);
    send_text(s, selected_on_end, "NOOP");
    send_fetches(s);
}

/* What was not listed is as it was, where everything else fits. */
static void keep_known(struct selected *s)
{
    const struct selected_base *b = s->base;
    unsigned items = MBOX_DATE | MBOX_SIZE;
    if (b)
        mbox_list_keep(&s->list, b->known, b->owner, b->changes ? items | MBOX_FLAGS : items);
    s->base = NULL;
}

/* The list holds all that had happened when the server told these numbers. */
static void selected_note_seen(struct selected *s)
{
    if (s->seen.uidnext == 0) /* Courier told it behind */
        s->seen.uidnext = selected_uidnext(s);
    if (!s->catching_up)
        return;
    s->catching_up = false;
    if (s->told.modseq > 0 && s->told.uidvalidity == s->uidvalidity)
        s->seen = s->told;
    else
        s->seen = (struct stamp_side){s->uidvalidity, selected_uidnext(s), (uint32_t)s->list.n, 0};
}

/* Mail that comes while it is listed is missing at the end of the list, each time further down: that is no
 * fault. */
static bool may_list_again(struct selected *s, uint32_t missing)
{
    bool further = s->missing > 0 && missing > s->missing;
    s->missing = missing;
    if (further && s->grown++ < GROWN_MAX)
        return true;
    return ++s->tries < TRIES;
}

/* --- lines that can't be told apart into words: the items of such a message one by one, so that all but the broken one are
 * known, and that one is named with its UID --- */

static const struct {
    enum mbox_has item;
    const char *name;
} apart_items[] = {
    {MBOX_UID, "UID"}, {MBOX_FLAGS, "FLAGS"}, {MBOX_DATE, "INTERNALDATE"}, {MBOX_SIZE, "RFC822.SIZE"}};

static size_t count_unlisted(const struct mbox_list *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->told; i++)
        n += !mbox_list_knows(l, (uint32_t)i + 1);
    return n + (l->n - l->told);
}

/* What is not told even so counts as none. */
static void selected_on_apart(void *owner, const struct imapc_end *e)
{
    const struct imapc_end fine = {.rc = IMAPC_OK};
    struct selected *s = owner;
    for (size_t i = 0; s->outstanding == 1 && e->rc != IMAPC_DOWN && i < s->list.told; i++)
        if ((s->list.msgs[i].has & MBOX_UID) && !mbox_list_knows(&s->list, (uint32_t)i + 1))
            mbox_list_forgo(&s->list, (uint32_t)i + 1);
    selected_on_end(s, e->rc == IMAPC_DOWN ? e : &fine);
}

/* Message numbers stay what they are as long as FETCH alone is under way (RFC 3501 7.4.1). */
static void ask_items(struct selected *s, uint32_t seq)
{
    const struct mbox_msg *m = mbox_list_at(&s->list, seq);
    unsigned has = m ? m->has : 0;
    for (size_t i = 0; i < COUNTOF(apart_items); i++)
        if (!(has & apart_items[i].item))
            send_text(s, selected_on_apart, "FETCH %" PRIu32 " (%s)", seq, apart_items[i].name);
}

static void selected_ask_apart(struct selected *s)
{
    size_t n = count_unlisted(&s->list);
    s->apart = true;
    for (size_t i = 0; n <= APART_MAX && i < s->list.n; i++)
        if (!mbox_list_knows(&s->list, (uint32_t)i + 1))
            ask_items(s, (uint32_t)i + 1);
    if (s->outstanding > 0)
        return;
    if (s->wanted.n == 0)
        imap_seq_add(&s->wanted, 1, UINT32_MAX);
    send_text(s, selected_on_end, "NOOP");
    send_fetches(s);
}

/* All answers are there. */
static void selected_check_list(struct selected *s)
{
    const char *why;
    uint32_t seq;
    keep_known(s);
    if (s->wrong) {
        selected_end(s, COPY_DIFFERS, "the %s contradicts itself: %s", s->side, s->wrong);
    } else if (s->broken && !s->apart) {
        if (s->given)
            selected_end(s, COPY_DOWN, SELECTED_GIVEN);
        else
            selected_ask_apart(s);
    } else if (mbox_list_check(&s->list, s->list.n, &why, &seq)) {
        selected_note_seen(s);
        selected_end(s, COPY_EQUAL, "%s", "");
    } else if (s->given) {
        selected_end(s, COPY_DOWN, SELECTED_GIVEN);
    } else if (may_list_again(s, seq)) {
        selected_list_again(s, seq);
    } else if (s->refused) {
        selected_end(s, s->temporary ? COPY_DOWN : COPY_DIFFERS, "the %s does not list its messages: %s",
                     s->side, s->refused);
    } else {
        selected_end(s, COPY_DIFFERS, "the %s says %zu messages, but of message number %u: %s", s->side,
                     s->list.n, seq, why);
    }
}

static void selected_note_refusal(struct selected *s, const struct imapc_end *e)
{
    s->down = s->down || e->rc == IMAPC_DOWN;
    s->temporary = imapc_end_temporary(e);
    free(s->refused);
    s->refused = e->rc == IMAPC_OK ? NULL : imapc_end_text(e);
}

static void selected_on_end(void *owner, const struct imapc_end *e)
{
    struct selected *s = owner;
    if (e->rc != IMAPC_OK)
        selected_note_refusal(s, e);
    if (--s->outstanding > 0)
        return;
    if (s->down)
        selected_end(s, COPY_DOWN, "%s: %s", s->side, imapc_error(s->imap));
    else
        selected_check_list(s);
}

/* --- opening --- */

static bool has_cap(const struct selected *s, enum imap_cap cap)
{
    return imap_caps_has(imapc_caps(s->imap), cap);
}

/* Courier shows numbers at EXAMINE that it does not keep: another UIDVALIDITY at each one as long as nobody
 * has SELECTed the mailbox, and for new mail UIDs that another message may have a moment later. What gives it
 * away is that it says no UIDNEXT there. */
static bool selected_examines(const struct selected *s)
{
    return s->examine && !imapc_needs_select(s->imap);
}

/* The SELECT was refused; its FETCH was too by now. */
static void end_refused(struct selected *s)
{
    s->vanished = !s->down && !s->temporary;
    if (s->down)
        selected_end(s, COPY_DOWN, "%s: %s", s->side, imapc_error(s->imap));
    else
        selected_end(s, s->temporary ? COPY_DOWN : COPY_DIFFERS, "the %s does not open it: %s", s->side,
                     s->refused);
}

static const char *selected_find_fault(const struct selected *s)
{
    if (s->uidvalidity == 0)
        return "has no UIDVALIDITY";
    if (!s->exists_told)
        return "does not say how many messages it has";
    if (s->read_only)
        return "opens it read-only";
    return s->wrong;
}

static void selected_send_open(struct selected *s);

/* Opening failed; this is the last answer to it. */
static void end_unopened(struct selected *s)
{
    const char *fault = selected_find_fault(s);
    if (s->refused || s->down)
        end_refused(s);
    else
        selected_end(s, COPY_DIFFERS, "the %s %s", s->side, fault ? fault : "could not be opened");
}

/* Of the commands that list; they were sent before it was known whether there is anything to list. */
static void on_first_list(void *owner, const struct imapc_end *e)
{
    const struct imapc_end fine = {.rc = IMAPC_OK};
    struct selected *s = owner;
    bool refused = e->rc != IMAPC_OK && e->rc != IMAPC_DOWN;
    if (s->phase == SELECTED_OPENING) {
        if (--s->outstanding > 0)
            return;
        if (s->reopen)
            selected_send_open(s); /* where the connection broke meanwhile, its end says so */
        else
            end_unopened(s);
    } else if (refused && (s->base || s->list.n == 0)) {
        s->base = NULL; /* then all is listed; and some servers refuse to list an empty mailbox */
        selected_on_end(s, &fine);
    } else {
        selected_on_end(s, e);
    }
}

static void on_searched(void *owner, const struct imapc_end *e)
{
    struct selected *s = owner;
    if (--s->searching == 0) {
        if (s->phase == SELECTED_LISTING && s->base && !mbox_list_uids(&s->list, &s->found))
            s->base = NULL;
        imap_seq_free(&s->found);
    }
    on_first_list(s, e);
}

/* Is what was known then any use now? Numbers that only rise are not below what they were. */
static bool selected_fits(const struct selected *s, const struct selected_base *b)
{
    return s->uidvalidity == b->was.uidvalidity && (s->uidnext == 0 || s->uidnext >= b->was.uidnext) &&
           (!b->changes || s->modseq >= b->was.modseq);
}

/* Where it is refused, APPEND will tell. */
static void on_limit(void *owner, const struct imapc_end *e)
{
    const struct imapc_end fine = {.rc = IMAPC_OK};
    on_first_list(owner, e->rc == IMAPC_DOWN ? e : &fine);
}

static void selected_on_opened(void *owner, const struct imapc_end *e)
{
    struct selected *s = owner;
    s->outstanding--;
    s->read_only = !s->examine && imap_code_is(e->code, "READ-ONLY", NULL);
    if (e->rc != IMAPC_OK)
        selected_note_refusal(s, e);
    if (e->rc == IMAPC_OK && selected_examines(s) && s->uidnext == 0) {
        imapc_note_needs_select(s->imap);
        s->reopen = true;
        return;
    }
    if (e->rc != IMAPC_OK || selected_find_fault(s))
        return; /* the end comes with that of the listing, which was sent already */
    s->phase = SELECTED_LISTING;
    if (!has_cap(s, CAP_CONDSTORE))
        s->modseq = 0;
    s->seen = (struct stamp_side){s->uidvalidity, s->uidnext, (uint32_t)s->list.n, s->modseq};
    selected_note_modseq(s, s->modseq);
    if (s->base && !selected_fits(s, s->base))
        s->base = NULL;
    if (s->uidnext == 0) /* Courier */
        send_named(s, selected_on_end, "STATUS", " (UIDNEXT)");
}

static void selected_begin(struct selected *s, step_fn fn, void *owner)
{
    s->fn = fn;
    s->owner = owner;
    s->missing = s->tries = s->grown = 0;
    s->down = s->temporary = s->reopen = s->catching_up = s->broken = s->apart = false;
    free(s->refused);
    s->refused = NULL;
}

/* Which UIDs are there. One answer is one line, which has to be below what the client takes (imap_client.h)
 * even where every other message is gone. */
static void send_searches(struct selected *s, uint32_t uidnext)
{
    uint32_t first = 1;
    s->searching = uidnext / SEARCHED_UIDS + 1;
    for (unsigned left = s->searching; left > 1; left--, first += SEARCHED_UIDS)
        send_text(s, on_searched, "UID SEARCH RETURN (ALL) UID %" PRIu32 ":%" PRIu32, first,
                  first + SEARCHED_UIDS - 1);
    if (first == 1)
        send_text(s, on_searched, "UID SEARCH RETURN (ALL) ALL");
    else
        send_text(s, on_searched, "UID SEARCH RETURN (ALL) UID %" PRIu32 ":*", first);
}

static void selected_send_listing(struct selected *s)
{
    const struct selected_base *b = s->base;
    if (!b) {
        send_text(s, on_first_list, "UID FETCH 1:*" ITEMS);
    } else if (b->changes) {
        if (has_cap(s, CAP_ESEARCH) && b->was.uidnext / SEARCHED_UIDS < SEARCHES_MAX)
            send_searches(s, b->was.uidnext);
        else
            send_text(s, on_first_list, "UID FETCH 1:* (UID)");
        send_text(s, on_first_list, "UID FETCH 1:*" ITEMS " (CHANGEDSINCE %" PRIu64 ")", b->was.modseq);
    } else {
        send_text(s, on_first_list, "UID FETCH 1:* (UID FLAGS)");
        send_text(s, on_first_list, "UID FETCH %" PRIu32 ":*" ITEMS, b->was.uidnext);
    }
}

static void selected_send_open(struct selected *s)
{
    s->phase = SELECTED_OPENING;
    s->wrong = NULL;
    s->reopen = s->exists_told = false;
    s->uidvalidity = s->uidnext = 0;
    s->modseq = s->modseq_told = 0;
    s->seen = (struct stamp_side){0};
    s->permanent = (struct flags_policy){0};
    imap_seq_free(&s->found);
    s->limited = false;
    if (!s->examine && has_cap(s, CAP_APPENDLIMIT) && imapc_caps(s->imap)->appendlimit == 0)
        send_named(s, on_limit, "STATUS", " (APPENDLIMIT)");
    send_named(s, selected_on_opened, selected_examines(s) ? "EXAMINE" : "SELECT",
               has_cap(s, CAP_CONDSTORE) ? " (CONDSTORE)" : "");
    selected_send_listing(s);
}

void selected_open(struct selected *s, const struct selected_base *base, step_fn fn, void *owner)
{
    selected_begin(s, fn, owner);
    s->base = base;
    selected_send_open(s);
}

static void selected_want(struct selected *s, const struct imap_seq *uids)
{
    s->phase = SELECTED_LISTING;
    imap_seq_free(&s->wanted);
    imap_seq_join(&s->wanted, uids);
}

void selected_refresh(struct selected *s, const struct imap_seq *uids, step_fn fn, void *owner)
{
    selected_begin(s, fn, owner);
    selected_want(s, uids);
    send_text(s, selected_on_end, "NOOP");
    send_fetches(s);
}

/* --- catching up --- */

/* Without this answer nothing can be said later without a look; the list does not need it. */
static void on_numbers(void *owner, const struct imapc_end *e)
{
    const struct imapc_end fine = {.rc = IMAPC_OK};
    struct selected *s = owner;
    if (e->rc != IMAPC_OK)
        s->told.modseq = 0;
    selected_on_end(s, e->rc == IMAPC_DOWN ? e : &fine);
}

/* NOOP comes first: what STATUS says of the mailbox that is selected may be as old as the last command
 * (Dovecot). */
void selected_catch_up(struct selected *s, uint32_t first_new, step_fn fn, void *owner)
{
    struct imap_seq uids = {0};
    bool old = s->list.listed > 0 && (first_new == 0 || s->list.msgs[0].uid < first_new);
    selected_begin(s, fn, owner);
    if (first_new > 0)
        imap_seq_add(&uids, first_new, UINT32_MAX);
    selected_want(s, &uids);
    imap_seq_free(&uids);
    s->told = (struct stamp_side){0};
    s->catching_up = true;
    send_text(s, selected_on_end, "NOOP");
    if (s->seen.modseq > 0)
        send_named(s, on_numbers, "STATUS", " (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)");
    if (s->seen.modseq > 0 && old && first_new > 1)
        send_text(s, on_numbers, "UID FETCH 1:%" PRIu32 ITEMS " (CHANGEDSINCE %" PRIu64 ")", first_new - 1,
                  s->seen.modseq);
    else if (s->seen.modseq > 0 && old)
        send_text(s, on_numbers, "UID FETCH 1:*" ITEMS " (CHANGEDSINCE %" PRIu64 ")", s->seen.modseq);
    send_fetches(s);
}
