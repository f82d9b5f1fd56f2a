#include "reasons.h"

static const struct {
    const char *word;
    enum why_then then;
    const char *advice;
} rows[WHY_COUNT] = {
    [WHY_CREDENTIALS] =
        {"credentials", THEN_LOGIN,
         "Goes on at the user's next login, which brings a fresh password or token. A master_user for "
         "both backends makes that needless: where users sign in by tokens, which last some hours, better set it."},
    [WHY_UNREACHABLE] =
        {"unreachable", THEN_AGAIN,
         "Tried again by itself. See what the reason says, whether the server runs and takes connections from here, and whether "
         "it has the user."},
    [WHY_THROTTLED] =
        {"throttled", THEN_AGAIN,
         "Tried again by itself. The server asks to be used more slowly: give its section max_messages_per_second or "
         "max_bytes_per_second, or a smaller max_connections."},
    [WHY_TLS] =
        {"tls", THEN_AGAIN,
         "Tried again by itself. See the server's certificate and the backend's ca_file and address."},
    [WHY_SAME_SERVER] =
        {"same_server", THEN_AGAIN,
         "The addresses of both backends lead to one server, so there is nothing to move to: correct them in the configuration, "
         "and start proxies and migrators anew. Nothing is moved until then."},
    [WHY_REFUSED] = {"refused", THEN_AGAIN,
                     "Tried again by itself. The server's own log says why it refuses."},
    [WHY_DIFFERS] =
        {"differs", THEN_AGAIN,
         "The copy is not what the original is, so the account is not moved. Look at the messages that "
         "\"user NAME --report\" names, on both servers; or \"waive\" them."},
    [WHY_CANNOT] =
        {"cannot", THEN_PERSON,
         "The new server does not take what is named; \"user NAME --report\" has all of it. Change it on one of "
         "the servers, then \"retry\"; or \"waive\" it."},
    [WHY_NOT_UNDERSTOOD] =
        {"not_understood", THEN_PERSON,
         "A server breaks the rules of IMAP in the answer that is quoted: \"user NAME --report\" has all of them. Mend it "
         "there, then \"retry\"; or \"waive\" it where it concerns one message or one mailbox (MAILBOX:not_understood)."},
    [WHY_SHARED] =
        {"shared", THEN_PERSON,
         "Others have rights on its mailboxes, or it sees theirs: on the new server that would end. Have them switched over as "
         "one (\"group make\"); or waive it (\"waive NAME shared\"); or let the rules exclude the mailboxes."},
    [WHY_SAME_ACCOUNT] =
        {"same_account", THEN_PERSON,
         "Two login names lead to one account. Say so in aliases; or, if they are two, waive it "
         "(\"waive NAME same_account\")."},
    [WHY_QUOTA] = {"quota", THEN_PERSON,
                   "The new server allows less than the account has. Raise its limit there, then \"retry\"."},
    [WHY_HOOK] =
        {"hook", THEN_AGAIN,
         "Tried again by itself. What hook_freeze runs or asks has said why, see the reason and the migrator's log."},
    [WHY_PROVISION] =
        {"provision", THEN_AGAIN,
         "Tried again by itself. What provision of the new server runs or asks has said why, see the reason and the migrator's log; "
         "where it says that all went well, see whether the account is there."},
    [WHY_UIDVALIDITY] =
        {"uidvalidity", THEN_PERSON,
         "Mail programs would take wrong messages for known ones. Delete the named mailbox on the "
         "new server if it holds nothing but copies, then \"retry\"."},
    [WHY_BYPASS] =
        {"bypass", THEN_AGAIN,
         "Tried again by itself. Something changes mail on the old server past the proxy (webmail, POP3, "
         "Sieve, clients on another host name): point it at the proxy, or let hook_freeze shut it out."},
    [WHY_SESSIONS] = {"sessions", THEN_AGAIN, "Tried again by itself. See \"sessions\" for who holds it up."},
    [WHY_DEADLINE] =
        {"deadline", THEN_AGAIN,
         "Tried again by itself. If it keeps happening, the servers are slow: raise freeze_budget."},
    [WHY_PAUSED] = {"paused", THEN_AGAIN, "Goes on by itself."},
    [WHY_STORE] = {"store", THEN_AGAIN, "Tried again by itself. See whether Redis and its replicas run."},
    [WHY_JOURNAL] =
        {"journal", THEN_AGAIN,
         "Tried again by itself, also by other migrators. See the disk of journal_dir on the host that the "
         "reason names: full, broken, or too slow."},
    [WHY_KILLED] =
        {"killed", THEN_PERSON,
         "Look into the logs of the migrators that the reason names. Where they crashed, something in this account "
         "may have done it: please report it. Where their hosts were rebooted or lost their network, \"retry\"."},
    [WHY_PROXY] =
        {"proxy", THEN_AGAIN,
         "Goes on by itself at that time, or when the proxy is heard again. Where its host is gone for good, \"proxy "
         "forget NAME\" says what that would mean."},
    [WHY_CHANGING] =
        {"changing", THEN_AGAIN,
         "Goes on by itself: after five passes it is switched over all the same, and its sessions stand still while the rest is "
         "copied. Where that takes longer than freeze_budget it is tried again later (deadline): then stop what writes so "
         "much, see \"sessions\", or raise freeze_budget."},
    [WHY_DOUBT] =
        {"doubt", THEN_AGAIN,
         "Goes on by itself at that time. A hook_kick, which ends all connections of the account at the new server, makes the wait "
         "needless."},
    [WHY_WINDOW] = {"window", THEN_AGAIN,
                    "Goes on by itself. \"migrate NAME --now\" switches it over at once."},
    [WHY_IDLE] =
        {"idle", THEN_AGAIN,
         "Goes on by itself. If its user is never away for so long, \"migrate NAME --now\" switches it over at "
         "once; \"sessions\" says who is signed in."},
    [WHY_WAVE] =
        {"wave", THEN_AGAIN,
         "Goes on by itself once the wave does: \"resume --wave NAME\". \"migrate NAME\" moves this account alone."},
    [WHY_GROUP] =
        {"group", THEN_AGAIN,
         "Goes on by itself once the accounts that are named do: the members of a group are switched over as one. \"group show\" says where "
         "each is; one that can't be mended can be taken out by \"group remove\"."},
    [WHY_INTERNAL] = {"internal", THEN_AGAIN,
                      "A fault of imapferry: please report it with the migrator's log."},
};

const char *why_word(enum why w)
{
    return rows[w].word;
}

enum why_then why_then(enum why w)
{
    return rows[w].then;
}

bool reason_why(const char *reason, enum why *_r, const char **detail)
{
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        size_t len = strlen(rows[i].word);
        if (strncmp(reason, rows[i].word, len) || (reason[len] != ':' && reason[len] != '\0'))
            continue;
        *_r = (enum why)i;
        *detail = reason + len + strspn(reason + len, ": ");
        return true;
    }
    return false;
}

const char *reason_advice(const char *reason)
{
    enum why why;
    const char *detail;
    return reason_why(reason, &why, &detail) ? rows[why].advice : "";
}
