/* What there is to rewrite: a row a verb, a row a response, a row a code. */
#include "view_rewrite_priv.h"

enum { FIRST = 1 << 0, SECOND = 1 << 1 };

/* Verbs without a row have nothing in them. */
const struct view_verb view_verbs[VERB_COUNT] = {
    [VERB_ENABLE] = {VIEW_BY_PART, ALONE, 0}, /* what is BAD without it may follow at once */
    [VERB_SELECT] = {VIEW_WHOLE, OPENS | ALONE, FIRST},
    [VERB_EXAMINE] = {VIEW_WHOLE, OPENS | ALONE, FIRST},
    [VERB_CREATE] = {VIEW_WHOLE, 0, FIRST},
    [VERB_DELETE] = {VIEW_WHOLE, ALONE, FIRST},
    [VERB_RENAME] = {VIEW_WHOLE, ALONE, FIRST | SECOND},
    [VERB_SUBSCRIBE] = {VIEW_WHOLE, 0, FIRST},
    [VERB_UNSUBSCRIBE] = {VIEW_WHOLE, 0, FIRST},
    [VERB_LIST] = {VIEW_WHOLE, LISTS, 0},
    [VERB_LSUB] = {VIEW_WHOLE, LISTS, 0},
    [VERB_STATUS] = {VIEW_WHOLE, 0, FIRST},
    [VERB_APPEND] = {VIEW_NAME, 0, FIRST},
    [VERB_CHECK] = {VIEW_AS_IS, NEEDS_OPEN, 0},
    [VERB_CLOSE] = {VIEW_BY_PART, LEAVES | ALONE | NEEDS_OPEN, 0},
    [VERB_UNSELECT] = {VIEW_BY_PART, LEAVES | ALONE | NEEDS_OPEN, 0},
    [VERB_EXPUNGE] = {VIEW_AS_IS, NEEDS_OPEN, 0},
    [VERB_SEARCH] = {VIEW_BY_PART, TAKES_KEYS | FINDS | NEEDS_OPEN, 0},
    [VERB_FETCH] = {VIEW_BY_PART, NEEDS_OPEN, 0},
    [VERB_STORE] = {VIEW_BY_PART, NEEDS_OPEN, 0},
    [VERB_COPY] = {VIEW_WHOLE, NEEDS_OPEN, SECOND},
    [VERB_MOVE] = {VIEW_WHOLE, MOVES | NEEDS_OPEN, SECOND},
    [VERB_SORT] = {VIEW_BY_PART, TAKES_KEYS | FINDS | NEEDS_OPEN, 0},
    [VERB_THREAD] = {VIEW_BY_PART, TAKES_KEYS | FINDS | NEEDS_OPEN, 0},
    [VERB_UID_EXPUNGE] = {VIEW_BY_PART, TAKES_UIDS | NEEDS_OPEN, 0},
    [VERB_UID_SEARCH] = {VIEW_BY_PART, TAKES_KEYS | FINDS | NEEDS_OPEN, 0},
    [VERB_UID_FETCH] = {VIEW_BY_PART, TAKES_UIDS | NEEDS_OPEN, 0},
    [VERB_UID_STORE] = {VIEW_BY_PART, TAKES_UIDS | NEEDS_OPEN, 0},
    [VERB_UID_COPY] = {VIEW_WHOLE, TAKES_UIDS | NEEDS_OPEN, SECOND},
    [VERB_UID_MOVE] = {VIEW_WHOLE, TAKES_UIDS | MOVES | NEEDS_OPEN, SECOND},
    [VERB_UID_SORT] = {VIEW_BY_PART, TAKES_KEYS | FINDS | NEEDS_OPEN, 0},
    [VERB_UID_THREAD] = {VIEW_BY_PART, TAKES_KEYS | FINDS | NEEDS_OPEN, 0},
    [VERB_GETQUOTAROOT] = {VIEW_WHOLE, 0, FIRST},
    [VERB_GETACL] = {VIEW_WHOLE, 0, FIRST},
    [VERB_SETACL] = {VIEW_WHOLE, 0, FIRST},
    [VERB_DELETEACL] = {VIEW_WHOLE, 0, FIRST},
    [VERB_LISTRIGHTS] = {VIEW_WHOLE, 0, FIRST},
    [VERB_MYRIGHTS] = {VIEW_WHOLE, 0, FIRST},
    [VERB_GETMETADATA] = {VIEW_WHOLE, 0, FIRST},
    [VERB_SETMETADATA] = {VIEW_NAME, 0, FIRST},
};

static const struct {
    const char *word;
    bool number; /* a message's number stands before it, or how many there are */
    enum view_data data;
} words[] = {
    {"FETCH", true, DATA_FETCH},       {"EXISTS", true, DATA_MAILBOX},
    {"RECENT", true, DATA_MAILBOX},    {"EXPUNGE", true, DATA_MAILBOX},
    {"FLAGS", false, DATA_MAILBOX},    {"SEARCH", false, DATA_FOUND},
    {"SORT", false, DATA_FOUND},       {"THREAD", false, DATA_FOUND},
    {"ESEARCH", false, DATA_ESEARCH},  {"VANISHED", false, DATA_VANISHED},
    {"STATUS", false, DATA_STATUS},    {"LIST", false, DATA_LIST},
    {"LSUB", false, DATA_LIST},        {"NAMESPACE", false, DATA_NAMESPACE},
    {"QUOTAROOT", false, DATA_NAMED},  {"ACL", false, DATA_NAMED},
    {"LISTRIGHTS", false, DATA_NAMED}, {"MYRIGHTS", false, DATA_NAMED},
    {"METADATA", false, DATA_NAMED},   {"QUOTA", false, DATA_SAME},
    {"CAPABILITY", false, DATA_SAME},  {"ENABLED", false, DATA_SAME},
    {"ID", false, DATA_SAME},
};

enum view_data view_data_of(const struct imap_resp *resp)
{
    for (size_t i = 0; i < COUNTOF(words); i++)
        if (words[i].number == resp->has_number && span_is_ci(resp->word, words[i].word))
            return words[i].data;
    return DATA_UNKNOWN;
}

static const struct {
    const char *name;
    enum view_code code;
} codes[] = {
    {"UIDVALIDITY", CODE_UIDVALIDITY},
    {"UIDNEXT", CODE_UIDNEXT},
    {"APPENDUID", CODE_APPENDUID},
    {"COPYUID", CODE_COPYUID},
    {"ALERT", CODE_SAME},
    {"BADCHARSET", CODE_SAME},
    {"CAPABILITY", CODE_SAME},
    {"CLOSED", CODE_CLOSED}, /* RFC 7162, to MODIFIED */
    {"HIGHESTMODSEQ", CODE_HIGHESTMODSEQ},
    {"NOMODSEQ", CODE_NOMODSEQ},
    {"MODIFIED", CODE_MODIFIED},
    {"PARSE", CODE_SAME},
    {"PERMANENTFLAGS", CODE_SAME},
    {"READ-ONLY", CODE_SAME},
    {"READ-WRITE", CODE_SAME},
    {"TRYCREATE", CODE_SAME},
    {"UIDNOTSTICKY", CODE_SAME},
    {"UNSEEN", CODE_SAME},
    {"UNKNOWN-CTE", CODE_SAME},      /* RFC 3516 */
    {"METADATA", CODE_SAME},         /* RFC 5464 */
    {"USEATTR", CODE_SAME},          /* RFC 6154 */
    {"INPROGRESS", CODE_INPROGRESS}, /* RFC 9585 */
    {"TOOBIG", CODE_SAME},
    {"UNAVAILABLE", CODE_SAME}, /* RFC 5530, to the end */
    {"AUTHENTICATIONFAILED", CODE_SAME},
    {"AUTHORIZATIONFAILED", CODE_SAME},
    {"EXPIRED", CODE_SAME},
    {"PRIVACYREQUIRED", CODE_SAME},
    {"CONTACTADMIN", CODE_SAME},
    {"NOPERM", CODE_SAME},
    {"INUSE", CODE_SAME},
    {"EXPUNGEISSUED", CODE_SAME},
    {"CORRUPTION", CODE_SAME},
    {"SERVERBUG", CODE_SAME},
    {"CLIENTBUG", CODE_SAME},
    {"CANNOT", CODE_SAME},
    {"LIMIT", CODE_SAME},
    {"OVERQUOTA", CODE_SAME},
    {"ALREADYEXISTS", CODE_SAME},
    {"NONEXISTENT", CODE_SAME},
    {"HASCHILDREN", CODE_SAME},
};

enum view_code view_code_of(struct span code)
{
    for (size_t i = 0; i < COUNTOF(codes); i++)
        if (imap_code_is(code, codes[i].name, NULL))
            return codes[i].code;
    return CODE_UNKNOWN;
}

bool view_status_passes(struct span item)
{
    static const char *const items[] = {"MESSAGES",    "RECENT",  "UNSEEN",         "SIZE",
                                        "APPENDLIMIT", "DELETED", "DELETED-STORAGE"};

    for (size_t i = 0; i < COUNTOF(items); i++)
        if (span_is_ci(item, items[i]))
            return true;
    return false;
}
