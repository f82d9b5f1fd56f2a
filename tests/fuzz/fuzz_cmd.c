/* Commands as they come from a client: what passes must be what a server cuts in the same way. */
#include "lib/imap_cmd.h"
#include "lib/imap_line.h"

#include "fuzz.h"

static const struct imap_line_limits limits = {
    .line = 4096, .parts = 100, .literal = 1000, .nonsync_max = 1000};

/* Nothing that needs a MODSEQ, and all else. */
static const char words[] = "UIDPLUS MOVE ESEARCH SORT SORT=DISPLAY THREAD=REFERENCES LIST-STATUS "
                            "MULTIAPPEND IDLE NAMESPACE ID ENABLE "
                            "UNSELECT CHILDREN LIST-EXTENDED SPECIAL-USE CREATE-SPECIAL-USE LITERAL+ BINARY "
                            "QUOTA ACL METADATA WITHIN "
                            "STATUS=SIZE SAVEDATE PREVIEW SNIPPET=FUZZY SEARCH=FUZZY";

/* Would a server that skips a line, quotes or not, find a literal at its end? Cyrus does so. */
static bool ends_in_marker(struct span s)
{
    size_t i = s.len;
    if (i == 0 || s.p[--i] != '}')
        return false;
    if (i > 0 && s.p[i - 1] == '+')
        i--;
    size_t digits = i;
    while (i > 0 && s.p[i - 1] >= '0' && s.p[i - 1] <= '9')
        i--;
    return i < digits && i > 0 && s.p[i - 1] == '{';
}

/* What is hidden, as a word of FETCH or STATUS outside of quotes and brackets. */
static bool has_hidden_item(struct span s)
{
    bool quoted = false, section = false;
    size_t begin = 0;
    for (size_t i = 0; i <= s.len; i++) {
        uint8_t c = i < s.len ? s.p[i] : ' ';
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (quoted || (section && c != ']'))
            continue;
        else if (c == '[' || c == ']')
            section = c == '[';
        else if (c != ' ' && c != '(' && c != ')')
            continue;
        struct span word = c == ']' ? span_of(s.p, 0) : span_of(s.p + begin, (i < s.len ? i : s.len) - begin);
        if (span_is_ci(word, "MODSEQ") || span_is_ci(word, "HIGHESTMODSEQ") || span_is_ci(word, "EMAILID"))
            return true;
        begin = i + 1;
    }
    return false;
}

static void check_passed(const struct imap_cmd *cmd, const struct imap_line_item *item)
{
    struct span args =
        item->first ? span_of(item->text.p + cmd->args, item->text.len - cmd->args) : item->text;
    MUST(item->literal == ends_in_marker(item->text));
    MUST(item->literal || (cmd->depth == 0 && cmd->section == 0));
    for (size_t i = 0; i < args.len; i++)
        MUST(args.p[i] != '\0' && args.p[i] != '\r' && args.p[i] != '\n');
    if (item->first && !item->literal && (cmd->verb == VERB_FETCH || cmd->verb == VERB_UID_FETCH)) {
        fuzz_cut(&args, ' '); /* the set */
        MUST(!has_hidden_item(args));
    }
}

static void check_enable(const struct imap_cmd *cmd, struct span line, const struct imap_caps *shown)
{
    struct buf out = {0};
    imap_cmd_filter_enable(&out, span_of(line.p + cmd->args, line.len - cmd->args), shown);
    MUST(out.len == 0);
    buf_free(&out);
}

static bool take(struct imap_cmd *cmd, const struct imap_line_item *item, const struct imap_caps *shown)
{
    const char *why = NULL;
    if (item->first && !imap_cmd_parse(item->text, cmd, &why)) {
        MUST(why && cmd->tag[0]);
        return false;
    }
    MUST(cmd->args <= item->text.len || !item->first);
    bool ok = imap_cmd_allowed(cmd, item->text, item->first, shown, &why);
    MUST(ok == (why == NULL));
    if (item->first)
        imap_cmd_reads(cmd, item->text);
    if (item->first && cmd->verb == VERB_ENABLE)
        check_enable(cmd, item->text, shown);
    if (ok)
        check_passed(cmd, item);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct imap_line l;
    struct imap_cmd cmd = {.tag = "*"};
    struct imap_caps shown;
    imap_caps_parse(&shown, span_str(words));
    imap_line_init(&l, LINE_COMMANDS, &limits);
    for (bool passes = true;;) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&l, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_MORE || rc == LINE_BAD)
            break;
        if (rc == LINE_TEXT && (item.first || passes))
            passes = take(&cmd, &item, &shown);
    }
    imap_line_wipe(&l);
    return 0;
}
