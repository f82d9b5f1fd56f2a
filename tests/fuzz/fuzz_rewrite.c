/* Lines between a client and a backend whose names and numbers differ. The first byte says which view; then
 * each line that begins with "C" is the client's, any other the backend's. What must hold: no UID and no
 * MODSEQ of the backend gets through untranslated, and whatever is written is whole lines. Commands of ours
 * have the tags Q1, Q2 and so on. */
#include "lib/imap_line.h"
#include "lib/view_rewrite.h"

#include "fuzz.h"

enum { COMMANDS_MAX = 20 };

static const struct imap_line_limits limits = {
    .line = 4096, .parts = 100, .literal = 1000, .nonsync_max = 1000};
static const struct imap_tree_limits tree_limits = {.depth = 20, .values = 1000, .bytes = 65536};
static const char words[] =
    "UIDPLUS MOVE ESEARCH SORT THREAD=REFERENCES LIST-STATUS MULTIAPPEND IDLE NAMESPACE ID "
    "ENABLE UNSELECT CHILDREN LIST-EXTENDED SPECIAL-USE LITERAL+ BINARY QUOTA ACL METADATA "
    "WITHIN SEARCH=FUZZY CONDSTORE QRESYNC PREVIEW";

/* All of the client's UIDs lie above those of the backend: what comes out can be told apart. */
enum { FAR = 1000000, FLOOR = 1000000 };

static struct view *view_of(uint8_t which)
{
    static const char *const spellings[] = {
        "1 client=.,INBOX. backend=/, avoid=", "1 client=/, backend=/, avoid=",
        "1 client=/, backend=.,INBOX. avoid=%25", "1 client=, backend=/, avoid="};
    static const char *const names[][2] = {{"INBOX.a", "a"}, {"a", "a"}, {"a", "INBOX.a"}, {"a", "a"}};
    struct view *v = view_new(NULL);
    MUST(view_take(v, span_str(""), span_str(spellings[which % 4])));
    for (int i = 0; i < 2; i++) {
        struct view_record r = {.id = "1",
                                .source_name = (char *)(uintptr_t)(i ? names[which % 4][0] : "INBOX"),
                                .target_name = (char *)(uintptr_t)(i ? names[which % 4][1] : "INBOX"),
                                .source_uidvalidity = 7,
                                .target_uidvalidity = 100,
                                .highest_uidvalidity = 7,
                                .modseqs = which & 16,
                                .modseq_floor = which & 16 ? FLOOR : 0,
                                .modseq_shift = which & 16 ? FLOOR : 0,
                                .tier = which & 4 && i ? VIEW_T1 : VIEW_T2};
        struct buf text = {0};
        for (uint32_t u = 1; u < 50; u++)
            MUST(view_uid_add(&r.map, FAR + u + u / 5, u));
        MUST(view_uid_set_tail(&r.map, FAR + 100, 50));
        view_record_encode(&text, &r);
        MUST(view_take(v, span_str(r.source_name), buf_span(&text)));
        buf_free(&text);
        view_uid_free(&r.map);
    }
    return v;
}

struct relay {
    struct view_rewrite *w;
    struct imap_line up, down;
    struct imap_cmd cmd;
    struct imap_caps shown;
    struct imap_tree *tree, *answer;
    struct buf literal, head, line;
    struct {
        char tag[IMAP_TAG_MAX + 1];
        struct view_command *c;
        bool own;
    } commands[COMMANDS_MAX];
    size_t n, asked;
    bool shifts;
    enum view_takes takes;
    bool passes, collects, ended;
};

static void add_command(struct relay *r, struct view_command *c)
{
    if (r->n == COMMANDS_MAX) {
        view_command_free(r->w, &c);
        return;
    }
    memcpy(r->commands[r->n].tag, r->cmd.tag, sizeof r->cmd.tag);
    r->commands[r->n].own = false;
    r->commands[r->n++].c = c;
}

static void ask(struct relay *r, struct view_command *c)
{
    struct buf out = {0};
    MUST(r->n < COMMANDS_MAX);
    snprintf(r->commands[r->n].tag, sizeof r->commands[0].tag, "Q%zu", ++r->asked);
    r->commands[r->n].own = true;
    r->commands[r->n++].c = c;
    view_rewrite_ask(r->w, c, &out);
    MUST(out.len > 0 && out.len < 8000 && !memchr(out.mem + out.off, '\n', out.len));
    buf_free(&out);
}

static bool ends_line(const struct buf *b)
{
    return b->len >= 2 && memcmp(b->mem + b->off + b->len - 2, "\r\n", 2) == 0;
}

static void became(struct relay *r, enum view_becomes is, const struct buf *answer, struct view_command *c,
                   bool first)
{
    MUST(is != VIEW_ANSWERED || (!c && ends_line(answer)));
    if (is == VIEW_ANSWERED)
        r->passes = false;
    else if (first)
        add_command(r, c);
}

static void by_part(struct relay *r, const struct imap_line_item *item)
{
    struct buf out = {0}, answer = {0};
    struct view_command **last = r->n ? &r->commands[r->n - 1].c : NULL, *c = NULL;
    if (!item->first && !last)
        return;
    enum view_becomes is =
        view_rewrite_part(r->w, &r->cmd, item->text, item->first, &out, &answer, item->first ? &c : last);
    MUST(is != VIEW_WRITTEN || out.len == 0 || !memchr(out.mem + out.off, '\n', out.len));
    MUST(is != VIEW_NOOP || !item->literal);
    became(r, is, &answer, c, item->first);
    buf_free(&out);
    buf_free(&answer);
}

/* The literals were joined to it. */
static void joined(struct relay *r, const struct imap_line_item *item)
{
    if (item->first)
        buf_clear(&r->line);
    buf_add(&r->line, item->text.p, item->literal ? item->marker : item->text.len);
    if (item->literal)
        return;
    struct imap_line_item all = *item;
    all.text = buf_span(&r->line);
    all.first = true;
    by_part(r, &all);
}

static void whole(struct relay *r)
{
    struct imap_writer out;
    struct buf answer = {0};
    struct view_command *c = NULL;
    struct span name;
    imap_writer_init(&out, LITERALS_SYNC);
    const struct imap_value *args = imap_tree_first(r->tree);
    if (r->takes == VIEW_WHOLE) {
        enum view_becomes is = view_rewrite_whole(r->w, &r->cmd, args, &out, &answer, &c);
        MUST(is != VIEW_PASSES && !(is == VIEW_WRITTEN && out.bad));
        became(r, is, &answer, c, true);
    } else if (imap_value_string(args, &name)) {
        enum view_becomes is = view_rewrite_name(r->w, &r->cmd, name, &out, &answer, &c);
        became(r, is, &answer, c, true);
        r->takes = VIEW_AS_IS;
    }
    imap_writer_wipe(&out);
    buf_free(&answer);
}

static void command_text(struct relay *r, const struct imap_line_item *item)
{
    const char *why;
    size_t begin = 0, end = item->literal ? item->marker : item->text.len;
    if (item->first) {
        r->passes = imap_cmd_parse(item->text, &r->cmd, &why) &&
                    imap_cmd_allowed(&r->cmd, item->text, true, &r->shown, &why);
        begin = r->cmd.args < end ? r->cmd.args : end;
        imap_tree_clear(r->tree);
        if (r->passes) {
            r->takes = view_rewrite_takes(r->w, &r->cmd, item->text);
            r->passes = r->n == 0 || !view_rewrite_waits(r->w, &r->cmd, item->text);
        }
    } else {
        r->passes = r->passes && imap_cmd_allowed(&r->cmd, item->text, false, &r->shown, &why);
    }
    if (!r->passes)
        return;
    if (r->takes == VIEW_BY_PART)
        by_part(r, item);
    else if (r->takes == VIEW_JOINED)
        joined(r, item);
    else if (r->takes == VIEW_AS_IS && item->first)
        add_command(r, NULL);
    else if (r->takes == VIEW_WHOLE || r->takes == VIEW_NAME) {
        r->passes = imap_tree_text(r->tree, span_of(item->text.p + begin, end - begin), &why);
        if (r->passes && ((!item->literal && imap_tree_done(r->tree, &why)) ||
                          (r->takes == VIEW_NAME && imap_tree_first(r->tree))))
            whole(r);
    }
}

static void literal(struct relay *r, struct imap_tree *tree, const struct imap_line_item *item)
{
    const char *why;
    buf_add_span(&r->literal, item->text);
    if (item->left > 0)
        return;
    if (tree == r->tree && r->takes == VIEW_JOINED)
        r->passes &= view_rewrite_join(&r->line, buf_span(&r->literal));
    else if (!imap_tree_literal(tree, buf_span(&r->literal), &why))
        r->passes = r->collects = false;
    buf_free(&r->literal);
}

static void commands(struct relay *r, struct span in)
{
    struct imap_line_item item;
    size_t used;
    for (;;) {
        enum imap_line_rc rc = imap_line_feed(&r->up, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_TEXT)
            command_text(r, &item);
        else if (rc == LINE_LITERAL && r->passes &&
                 (r->takes == VIEW_WHOLE || r->takes == VIEW_NAME || r->takes == VIEW_JOINED))
            literal(r, r->tree, &item);
        else if (rc != LINE_LITERAL) {
            r->ended |= rc == LINE_BAD;
            return;
        }
    }
}

/* In the mailbox of T2, a UID that comes first is one of the client's. */
static void check_fetch(const struct buf *out)
{
    static const char head[] = " FETCH (UID ";
    struct span s = buf_span(out);
    size_t i = 2, n = sizeof head - 1;
    uint32_t uid;
    while (i < s.len && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    if (i + n > s.len || s.p[0] != '*' || memcmp(s.p + i, head, n) != 0)
        return;
    for (i += n; i < s.len && s.p[i] == ' ';)
        i++; /* some servers write two */
    s = span_of(s.p + i, s.len - i);
    for (n = 0; n < s.len && s.p[n] >= '0' && s.p[n] <= '9';)
        n++;
    MUST(span_u32(span_of(s.p, n), &uid) && uid > FAR);
}

/* A MODSEQ that comes first, or the HIGHESTMODSEQ of the mailbox that is open, is above the floor. */
static void check_modseq(const struct buf *out)
{
    static const char *const heads[] = {" FETCH (MODSEQ (", " OK [HIGHESTMODSEQ "};
    struct span s = buf_span(out);
    uint64_t n;
    size_t i = 1, digits = 0;
    while (i < s.len && (s.p[i] == ' ' || (s.p[i] >= '0' && s.p[i] <= '9')))
        i++;
    for (size_t k = 0; k < 2; k++) {
        size_t len = strlen(heads[k]);
        if (s.len < i - 1 + len || s.p[0] != '*' || memcmp(s.p + i - 1, heads[k], len) != 0)
            continue;
        s = span_of(s.p + i - 1 + len, s.len - i + 1 - len);
        while (digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9')
            digits++;
        MUST(span_u64(span_of(s.p, digits), INT64_MAX, &n) && n >= FLOOR);
        return;
    }
}

static void gave(struct relay *r, enum view_gives is, const struct buf *out, const char *wrong)
{
    MUST((is != VIEW_LINES && !(is == VIEW_ASK && out->len)) || ends_line(out));
    MUST((is == VIEW_WRONG) == (wrong != NULL));
    r->ended |= is == VIEW_WRONG;
    r->collects = is == VIEW_COLLECT;
}

static void tagged(struct relay *r, const struct imap_resp *resp, struct span line)
{
    struct view_changes changes = {0};
    struct view_command *c = NULL;
    struct buf out = {0};
    const char *wrong = NULL;
    size_t i = 0;
    enum view_gives is;
    while (i < r->n && !span_is(resp->tag, r->commands[i].tag))
        i++;
    if (i == r->n)
        return;
    c = r->commands[i].c;
    bool own = r->commands[i].own;
    memmove(&r->commands[i], &r->commands[i + 1], (r->n - i - 1) * sizeof r->commands[0]);
    r->n--;
    if (own)
        is = view_rewrite_asked(r->w, &c, resp, line, &out);
    for (int stores = 0;
         !own && (is = view_rewrite_tagged(r->w, &c, resp, line, &out, &changes, &wrong)) == VIEW_STORE;) {
        struct view *next = view_apply(view_rewrite_view(r->w), &changes);
        MUST(next && ++stores < 3);
        view_rewrite_use(r->w, next);
        view_unref(&next);
        view_changes_free(&changes);
    }
    MUST((c != NULL) == (is == VIEW_ASK) && changes.n == 0 && is != VIEW_NOTHING && is != VIEW_COLLECT);
    gave(r, is, &out, wrong);
    if (c)
        ask(r, c);
    buf_free(&out);
}

static void untagged(struct relay *r, const struct imap_resp *resp, const struct imap_line_item *item)
{
    struct buf out = {0};
    const char *wrong = NULL;
    enum view_gives is = view_rewrite_response(r->w, resp, item->text, item->literal, &out, &wrong);
    MUST(is != VIEW_STORE && (resp || is != VIEW_COLLECT));
    if (is == VIEW_LINES && view_rewrite_is_open(r->w))
        check_fetch(&out);
    if (is == VIEW_LINES && view_rewrite_map(r->w) && r->shifts)
        check_modseq(&out);
    gave(r, is, &out, wrong);
    buf_free(&out);
}

static void response_text(struct relay *r, const struct imap_line_item *item)
{
    struct imap_resp resp;
    const char *why, *wrong = NULL;
    size_t begin = 0, end = item->literal ? item->marker : item->text.len;
    if (item->first) {
        imap_tree_clear(r->answer);
        r->collects = false;
        if (!imap_resp_parse(item->text, &resp, &why)) {
            r->ended = true;
            return;
        }
        if (resp.kind == RESP_TAGGED) {
            tagged(r, &resp, item->text);
            return;
        }
        untagged(r, &resp, item);
        begin = resp.rest < end ? resp.rest : end;
        buf_clear(&r->head);
        buf_add_span(&r->head, item->text);
    } else if (!r->collects) {
        untagged(r, NULL, item);
    }
    if (!r->collects)
        return;
    r->ended |= !imap_tree_text(r->answer, span_of(item->text.p + begin, end - begin), &why);
    if (r->ended || item->literal || !imap_tree_done(r->answer, &why))
        return;
    struct buf out = {0};
    MUST(imap_resp_parse(buf_span(&r->head), &resp, &why));
    enum view_gives is = view_rewrite_collected(r->w, &resp, imap_tree_first(r->answer), &out, &wrong);
    gave(r, is, &out, wrong);
    MUST(!r->collects);
    buf_free(&out);
}

static void responses(struct relay *r, struct span in)
{
    struct imap_line_item item;
    size_t used;
    while (!r->ended) {
        enum imap_line_rc rc = imap_line_feed(&r->down, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_TEXT)
            response_text(r, &item);
        else if (rc == LINE_LITERAL && r->collects)
            literal(r, r->answer, &item);
        else if (rc != LINE_LITERAL) {
            r->ended |= rc == LINE_BAD;
            return;
        }
    }
}

static void run(struct relay *r, struct span in)
{
    while (in.len > 0 && !r->ended) {
        struct span line = fuzz_cut(&in, '\n');
        bool client = line.len > 0 && line.p[0] == 'C';
        struct buf own = {0};
        if (client)
            line = span_of(line.p + 1, line.len - 1);
        buf_add_span(&own, line);
        buf_add_str(&own, line.len && line.p[line.len - 1] == '\r' ? "\n" : "\r\n");
        if (client)
            commands(r, buf_span(&own));
        else
            responses(r, buf_span(&own));
        buf_free(&own);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint8_t which = fuzz_byte(&in);
    struct view *v = view_of(which);
    struct relay r = {.w = view_rewrite_new(v)};
    struct view_sight sight;
    imap_caps_parse(&r.shown, span_str(words));
    imap_line_init(&r.up, LINE_COMMANDS, &limits);
    imap_line_init(&r.down, LINE_RESPONSES, &limits);
    view_rewrite_enabled(r.w, which & 32, which & 64);
    r.shifts = which & 16;
    r.tree = imap_tree_new(&tree_limits);
    r.answer = imap_tree_new(&tree_limits);
    if (which & 8) {
        MUST(view_look(v, span_str("INBOX"), 100, 0, &sight) == VIEW_FITS);
        view_rewrite_selected(r.w, span_str("INBOX"), &sight);
    }
    run(&r, in);
    for (size_t i = 0; i < r.n; i++)
        view_command_free(r.w, &r.commands[i].c);
    view_rewrite_free(&r.w);
    view_unref(&v);
    imap_tree_free(&r.tree);
    imap_tree_free(&r.answer);
    imap_line_wipe(&r.up);
    imap_line_wipe(&r.down);
    buf_free(&r.literal);
    buf_free(&r.line);
    buf_free(&r.head);
    return 0;
}
