#include "imap_cmd.h"

#define R VERB_READS
#define P VERB_PREAUTH
#define U VERB_HAS_UID

/* SELECT is no reader: it takes \Recent away. */
const struct imap_verb_info imap_verbs[VERB_COUNT] = {
    [VERB_CAPABILITY] = {"CAPABILITY", R | P, CAP_NONE},
    [VERB_NOOP] = {"NOOP", R | P, CAP_NONE},
    [VERB_LOGOUT] = {"LOGOUT", R | P, CAP_NONE},
    [VERB_ID] = {"ID", R | P, CAP_ID},
    [VERB_STARTTLS] = {"STARTTLS", P, CAP_NONE},
    [VERB_AUTHENTICATE] = {"AUTHENTICATE", P, CAP_NONE},
    [VERB_LOGIN] = {"LOGIN", P, CAP_NONE},
    [VERB_ENABLE] = {"ENABLE", R, CAP_ENABLE},
    [VERB_SELECT] = {"SELECT", 0, CAP_NONE},
    [VERB_EXAMINE] = {"EXAMINE", R, CAP_NONE},
    [VERB_CREATE] = {"CREATE", 0, CAP_NONE},
    [VERB_DELETE] = {"DELETE", 0, CAP_NONE},
    [VERB_RENAME] = {"RENAME", 0, CAP_NONE},
    [VERB_SUBSCRIBE] = {"SUBSCRIBE", 0, CAP_NONE},
    [VERB_UNSUBSCRIBE] = {"UNSUBSCRIBE", 0, CAP_NONE},
    [VERB_LIST] = {"LIST", R, CAP_NONE},
    [VERB_LSUB] = {"LSUB", R, CAP_NONE},
    [VERB_STATUS] = {"STATUS", R, CAP_NONE},
    [VERB_APPEND] = {"APPEND", 0, CAP_NONE},
    [VERB_NAMESPACE] = {"NAMESPACE", R, CAP_NAMESPACE},
    [VERB_IDLE] = {"IDLE", R, CAP_IDLE},
    [VERB_CHECK] = {"CHECK", R, CAP_NONE},
    [VERB_CLOSE] = {"CLOSE", 0, CAP_NONE},
    [VERB_UNSELECT] = {"UNSELECT", R, CAP_UNSELECT},
    [VERB_EXPUNGE] = {"EXPUNGE", 0, CAP_NONE},
    [VERB_SEARCH] = {"SEARCH", R, CAP_NONE},
    [VERB_FETCH] = {"FETCH", 0, CAP_NONE},
    [VERB_STORE] = {"STORE", 0, CAP_NONE},
    [VERB_COPY] = {"COPY", 0, CAP_NONE},
    [VERB_MOVE] = {"MOVE", 0, CAP_MOVE},
    [VERB_SORT] = {"SORT", R, CAP_SORT},
    [VERB_THREAD] = {"THREAD", R, CAP_NONE},
    [VERB_UID_EXPUNGE] = {"UID EXPUNGE", U, CAP_UIDPLUS},
    [VERB_UID_SEARCH] = {"UID SEARCH", U | R, CAP_NONE},
    [VERB_UID_FETCH] = {"UID FETCH", U, CAP_NONE},
    [VERB_UID_STORE] = {"UID STORE", U, CAP_NONE},
    [VERB_UID_COPY] = {"UID COPY", U, CAP_NONE},
    [VERB_UID_MOVE] = {"UID MOVE", U, CAP_MOVE},
    [VERB_UID_SORT] = {"UID SORT", U | R, CAP_SORT},
    [VERB_UID_THREAD] = {"UID THREAD", U | R, CAP_NONE},
    [VERB_GETQUOTA] = {"GETQUOTA", R, CAP_QUOTA},
    [VERB_GETQUOTAROOT] = {"GETQUOTAROOT", R, CAP_QUOTA},
    [VERB_SETQUOTA] = {"SETQUOTA", 0, CAP_QUOTA},
    [VERB_GETACL] = {"GETACL", R, CAP_ACL},
    [VERB_SETACL] = {"SETACL", 0, CAP_ACL},
    [VERB_DELETEACL] = {"DELETEACL", 0, CAP_ACL},
    [VERB_LISTRIGHTS] = {"LISTRIGHTS", R, CAP_ACL},
    [VERB_MYRIGHTS] = {"MYRIGHTS", R, CAP_ACL},
    [VERB_GETMETADATA] = {"GETMETADATA", R, CAP_NONE},
    [VERB_SETMETADATA] = {"SETMETADATA", 0, CAP_NONE},
    [VERB_COMPRESS] = {"COMPRESS", R, CAP_COMPRESS_DEFLATE},
};

#undef R
#undef P
#undef U

static bool cmd_refuse(const char **why, const char *text)
{
    *why = text;
    return false;
}

static struct span cut_word(struct span *rest)
{
    const uint8_t *blank = rest->len > 0 ? memchr(rest->p, ' ', rest->len) : NULL;
    struct span word = span_of(rest->p, blank ? (size_t)(blank - rest->p) : rest->len);
    size_t eaten = word.len + (blank ? 1 : 0);
    *rest = span_of(rest->p + eaten, rest->len - eaten);
    return word;
}

/* Characters of an atom and "]" (RFC 3501 9 ASTRING-CHAR), none of those in not_these. */
static bool cmd_is_word(struct span s, const char *not_these)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("(){%*\"\\", s.p[i]) || strchr(not_these, s.p[i]))
            return false;
    return s.len > 0;
}

static enum imap_verb cmd_find_verb(struct span name, bool uid)
{
    for (enum imap_verb v = VERB_UNKNOWN + 1; v < VERB_COUNT; v++) {
        bool has_uid = imap_verbs[v].flags & VERB_HAS_UID;
        if (has_uid == uid && span_is_ci(name, imap_verbs[v].name + (uid ? strlen("UID ") : 0)))
            return v;
    }
    return VERB_UNKNOWN;
}

bool imap_cmd_parse(struct span line, struct imap_cmd *cmd, const char **why)
{
    struct span rest = line;
    struct span tag = cut_word(&rest);
    *cmd = (struct imap_cmd){.tag = "*", .args = line.len};
    if (tag.len > IMAP_TAG_MAX || !cmd_is_word(tag, "+"))
        return cmd_refuse(why, "Invalid tag");
    memcpy(cmd->tag, tag.p, tag.len);
    cmd->tag[tag.len] = '\0';
    struct span verb = cut_word(&rest);
    bool uid = span_is_ci(verb, "UID");
    if (uid)
        verb = cut_word(&rest);
    if (verb.len == 0)
        return cmd_refuse(why, "Command missing");
    if (!cmd_is_word(verb, "]"))
        return cmd_refuse(why, "Invalid command");
    cmd->verb = cmd_find_verb(verb, uid);
    cmd->args = line.len - rest.len;
    return true;
}
