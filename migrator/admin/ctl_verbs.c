#include "lib/reasons.h"

#include "ctl_verbs.h"

/* Which of all accounts. */
enum { CHOICE = WITH_DOMAIN | WITH_RULE | WITH_BACKEND | WITH_WORD | WITH_WITHIN | WITH_BEYOND };

const struct ctl_verb ctl_verbs[] = {
    {
        .name = "init",
        .what = ACTION_INIT,
        .forms = {{"", "make the store in Redis, once for a site"}},
        .more =
            "An empty Redis is refused by all programs, since it would mean that everybody lives on the old server.",
        .changes = "Writes the store's record to Redis.",
        .refused = "there is a store, or the journal of this host has switch-overs or can't be read",
    },
    {
        .name = "seal-key",
        .what = CTL_SEAL_KEY,
        .options = WITH_OUT,
        .forms = {{"[--out DIR]", "make a pair of keys for sealed passwords"}},
        .more =
            "The private key is for the migrators, the public one for all. Without --out they go where the section seal "
            "says.",
        .changes = "Writes two files. One that is there is not replaced.",
    },
    {
        .name = "ticket-key",
        .what = CTL_TICKET_KEY,
        .forms = {{"", "make a new key for tickets of TLS"}},
        .more =
            "It goes in front of those in the first of tls_ticket_files; two older ones are kept, so that clients notice "
            "nothing. Bring the file to all proxies, and send them SIGHUP.",
        .changes = "Writes the file anew.",
    },
    {
        .name = "status",
        .what = ACTION_STATUS,
        .forms = {{"", "the whole migration"}},
        .more = "Accounts by state, proxies, migrators, Redis.",
    },
    {
        .name = "top",
        .what = CTL_TOP,
        .forms = {{"", "watch the whole migration"}},
        .more =
            "A view on the terminal that goes on until q: rates, what is under way with its progress, how long accounts stood still, "
            "what does not get on and why, backends. The space bar stops it, the arrows scroll, + and - look more and less often.",
    },
    {
        .name = "recount",
        .what = ACTION_RECOUNT,
        .forms = {{"", "count the accounts for status anew"}},
        .more = "Goes through all routes; the numbers of status are kept up to date by themselves.",
        .changes = "The numbers that status shows.",
    },
    {
        .name = "user",
        .what = ACTION_USER,
        .takes = NEEDS_NAME,
        .options = WITH_REPORT,
        .forms = {{"NAME", "where an account is, what happens to it"},
                  {"NAME --report", "what its last pass compared and found"}},
        .more =
            "Ends with status 3 where the account has no record: it lives on the server that the configuration says.",
    },
    {
        .name = "plan",
        .what = CTL_PLAN,
        .takes = NEEDS_NAME,
        .forms = {{"NAME", "what a migration would do or stop at"}},
        .more = "Signs in at both servers, and writes nothing. Needs what a migrator needs to sign in.",
        .refused = "the account lives on the other server, or there is no way to sign in",
    },
    {
        .name = "survey",
        .what = CTL_SURVEY,
        .takes = TAKES_FILES,
        .options = WITH_RESULT | WITH_PAUSE,
        .forms = {{"FILE --out RESULT [--pause TIME]", "plan many accounts, for a report"}},
        .more =
            "FILE has one login name a line (\"-\": standard input). Plans one account after the other, within the limits of the "
            "backends, and adds a line of JSON for each to RESULT; what is there already is not planned again, so the same command goes "
            "on with a survey that was stopped. \"report --survey RESULT\" adds it up.",
        .changes = "Writes RESULT, and nothing else anywhere.",
    },
    {
        .name = "group",
        .what = CTL_GROUP,
        .takes = NEEDS_NAME,
        .options = WITH_SURVEY,
        .forms = {{"NAME --survey RESULT", "who shares mailboxes with it, and where"}},
        .more =
            "Of what a survey has found: the accounts that share mailboxes with this one, or with one that does, and so on, with where "
            "each is now, and whether \"shared\" is waived for it (WAIVED), without which it stays where it is. Status 1 where the "
            "survey knows of nobody.",
    },
    {
        .name = "group make",
        .what = ACTION_SHARING_MAKE,
        .takes = TAKES_GROUP | TAKES_ACCOUNTS,
        .options = WITH_SURVEY | WITH_REASON,
        .forms = {{"GROUP NAME... [--reason TEXT]", "have accounts switched over as one"},
                  {"GROUP NAME... --survey RESULT", "the same, with all who share with them"}},
        .more =
            "Accounts that share mailboxes find each other's only while they are on one server. The members of a group are copied each in its "
            "time, and then stand still and are switched over together: all or none. What they share among each other stops none of them "
            "(\"shared\" needs no waiver); with others it does. Up to group_max accounts, all in one store. Who moves one moves all; neither "
            "--force nor the way back is for one of them, see \"group migrate\".",
        .changes = "Makes the group; members that are under way begin anew; an entry in the audit for each.",
        .refused =
            "there is such a group, one of them is in another, or in its switch-over, or there are more than group_max",
    },
    {
        .name = "group add",
        .what = ACTION_SHARING_ADD,
        .takes = TAKES_GROUP | TAKES_ACCOUNTS,
        .options = WITH_SURVEY | WITH_REASON,
        .forms = {{"GROUP NAME... [--reason TEXT]", "take accounts into a group"}},
        .more = "With --survey RESULT also all who share with them.",
        .changes = "Members that are under way begin anew; an entry in the audit for each that is new.",
        .refused = "there is no such group, or as of \"group make\"",
    },
    {
        .name = "group remove",
        .what = ACTION_SHARING_REMOVE,
        .takes = TAKES_GROUP | TAKES_ACCOUNTS,
        .options = WITH_REASON,
        .forms = {{"GROUP NAME... [--reason TEXT]", "take accounts out of a group"}},
        .more = "What others share with it stops them then (\"shared\").",
        .changes = "Members that are under way begin anew; an entry in the audit for each that is gone.",
        .refused = "fewer than two would be left (see \"group drop\"), or one is in its switch-over",
    },
    {
        .name = "group drop",
        .what = ACTION_SHARING_DROP,
        .takes = TAKES_GROUP,
        .options = WITH_REASON,
        .forms = {{"GROUP [--reason TEXT]", "have its accounts go each by itself"}},
        .more = "",
        .changes = "The group is no more; an entry in the audit for each account.",
        .refused = "one of them is in its switch-over",
    },
    {
        .name = "group list",
        .what = ACTION_SHARING_LIST,
        .forms = {{"", "the groups, and how far they are"}},
        .more = "",
    },
    {
        .name = "group show",
        .what = ACTION_SHARING,
        .takes = TAKES_GROUP,
        .forms = {{"GROUP", "its accounts, and what each waits for"}},
        .more = "GROUP may be the name of a member, too. Ends with status 3 where there is none.",
    },
    {
        .name = "group migrate",
        .what = ACTION_SHARING_MOVE,
        .takes = TAKES_GROUP,
        .options = WITH_TO | WITH_NOW | WITH_REASON | WITH_WAIT,
        .forms = {{"GROUP [--to BACKEND] [--now] [--wait]", "move all of it; also back"}},
        .more =
            "All of its accounts are queued, or none. Sent back to where they came from, they take along what is new, and are held there. "
            "With --wait it ends once all have arrived, or with status 1 where one of them does not get on, which is named.",
        .changes = "Queues the accounts; an entry in the audit for each.",
        .refused =
            "one of them is held, on its way to another server, or in its switch-over, or a server is retired",
    },
    {
        .name = "check",
        .what = CTL_CHECK,
        .takes = TAKES_NAME,
        .forms = {{"", "try servers and Redis, say what to do"},
                  {"NAME", "is this user there on both servers?"}},
        .more =
            "Connects to each backend, signs in there as its master_user (for check_user, where that is set), opens as many connections "
            "as a migrator would for a moment, and asks Redis what it keeps. A line is ok, a warning or an error; ends with "
            "status 1 where one is an error. Run it where a migrator runs. With a NAME it signs in as master for that user; "
            "nothing of theirs is changed.",
        .changes = "What the servers can do is stored for the proxies.",
    },
    {
        .name = "sessions",
        .what = ACTION_SESSIONS,
        .takes = NEEDS_NAME,
        .forms = {{"NAME", "its sessions on all proxies"}},
        .more = "",
    },
    {
        .name = "list",
        .what = ACTION_LIST,
        .options = WITH_STATE | WITH_WHY | CHOICE | WITH_COLUMNS,
        .forms = {{"[--state STATE] [--reason WORD] ...", "accounts by state, reason, domain ..."},
                  {"--columns NAME,...", "... and what to show of them"}},
        .more =
            "WORD is what a reason begins with, such as \"unreachable\". Goes through all accounts with a record; the first 100,000 "
            "are listed. Logins are known to the hour, of accounts that had a record then. Columns are user, state, on, "
            "reason, domain, rule, from, to, login, flipped, next, attempts, failed, mailboxes, messages, bytes, tiers and "
            "waived; with --json all of them are told where --columns is given.",
    },
    {
        .name = "report",
        .what = ACTION_REPORT,
        .takes = TAKES_NAME,
        .options = WITH_STATE | CHOICE | WITH_FORMAT | WITH_SURVEY | WITH_PROOF,
        .forms = {{"[--domain DOMAIN] [--rule PATTERN] ...", "what has become of many accounts"},
                  {"NAME", "what has become of one"},
                  {"NAME --proof", "digests of its messages at the switch-over"},
                  {"--survey RESULT", "what a survey has found"}},
        .more =
            "What a provider shows its customer: how many accounts are moved and where the others are, why, what was copied and "
            "compared, tiers, waivers. As text, JSON, or CSV with a line for each account; in that, what a spreadsheet would take for "
            "a formula has a \"'\" in front; of a survey with a line for each account that shares mailboxes. Goes through all accounts "
            "with a record, however many there are. With --proof: the file that the migrator has written before the switch-over, of which "
            "the audit has the SHA-256; on the host of that migrator, as a user who may read its journal_dir.",
    },
    {
        .name = "audit",
        .what = ACTION_AUDIT,
        .takes = TAKES_NAME,
        .forms = {{"[NAME]", "who did what, and why"}},
        .more = "The newest hundred entries.",
    },
    {
        .name = "migrate",
        .what = ACTION_MIGRATE,
        .takes = NEEDS_NAME,
        .options = WITH_TO | WITH_REASON | WITH_WAIT | WITH_NOW | WITH_ALL,
        .forms = {{"NAME [--to BACKEND] [--now] [--wait]", "copy it, switch it over by the policy"},
                  {"--all FILE [--to BACKEND]", "the same for all accounts of a list"}},
        .more =
            "A list has one login name a line (\"-\": standard input); \"#\" begins a comment. Its accounts are copied behind those "
            "whose users log in. One that is sent back to where it came from takes along what is new, and is held there.",
        .changes = "Queues the account, or all of the list; one entry in the audit.",
        .refused =
            "the account is held, or on its way from there, or one of the servers is retired; of a list: where some are",
    },
    {
        .name = "flip",
        .what = ACTION_FLIP,
        .takes = NEEDS_NAME,
        .options = WITH_WHERE | WITH_REASON | WITH_FORCE | WITH_EVEN_SO | WITH_WAIT,
        .forms = {{"NAME --to BACKEND --reason TEXT [--wait]", "copy it, switch it over now"},
                  {"NAME --to BACKEND --force --reason TEXT", "switch it over without a copy"}},
        .more =
            "Sent back to where it came from, an account is held there until \"release\". With --force nothing is copied or compared "
            "before: what the other server has more is brought by the late watch afterwards, flags and deletions are not. A sign-in as "
            "master tells before whether the user is there on BACKEND; where they are not, or it can't be seen, nothing is done without "
            "--yes.",
        .changes = "Queues the account for a switch-over whatever the policy says; one entry in the audit.",
        .refused =
            "the account is held, on its way from there, or in its cut-over; BACKEND is retired, or without --force the server that it is "
            "on; with --force also where the user is not seen on BACKEND",
    },
    {
        .name = "hold",
        .what = ACTION_HOLD,
        .takes = NEEDS_NAME,
        .options = WITH_REASON,
        .forms = {{"NAME [--reason TEXT]", "pin it where it is"}},
        .more = "Not in the seconds of its switch-over.",
        .changes = "The account is held, and a job under way ends; one entry in the audit.",
        .refused = "the account is in its cut-over",
    },
    {
        .name = "release",
        .what = ACTION_RELEASE,
        .takes = NEEDS_NAME,
        .options = WITH_REASON,
        .forms = {{"NAME [--reason TEXT]", "undo hold"}},
        .more = "What was under way is queued again.",
        .changes = "The account is as before it was held; one entry in the audit.",
        .refused = "the account is not held",
    },
    {
        .name = "kick",
        .what = ACTION_KICK,
        .takes = NEEDS_NAME,
        .options = WITH_REASON,
        .forms = {{"NAME [--reason TEXT]", "end its sessions at all proxies"}},
        .more =
            "Clients are told BYE [UNAVAILABLE], and may come back at once: change the password first, or hold the account, where "
            "they should not.",
        .changes = "Ends the sessions; one entry in the audit.",
        .refused = "the account is in its cut-over",
    },
    {
        .name = "retry",
        .what = ACTION_RETRY,
        .takes = NEEDS_NAME,
        .options = WITH_REASON | WITH_EACH | WITH_STATE | CHOICE,
        .forms = {{"NAME [--reason TEXT]", "try again now what is backoff or blocked"},
                  {"--all [--state STATE] [--why WORD] ...", "all that are, behind the logins"}},
        .more = "",
        .changes = "Queues the account, or all of them; one entry in the audit.",
        .refused = "the account is neither backoff nor blocked",
    },
    {
        .name = "forget",
        .what = ACTION_FORGET,
        .takes = NEEDS_NAME,
        .options = WITH_REASON | WITH_GONE,
        .forms = {{"NAME [--reason TEXT]", "know nothing of it any more"},
                  {"NAME --gone --reason TEXT", "the same of one moved and deleted"}},
        .more =
            "For names that are none, and users who were deleted. What was copied of the account stays on the new server. After --gone "
            "who signs in by this name is served by the old server again: delete the account on both servers before. What is kept about a "
            "person, where and how long, is told in the handbook, personal-data.md.",
        .changes =
            "Removes all that Redis has of the account but its entries in the audit (kept for audit_keep) and the events of the "
            "last day, and adds one.",
        .refused = "the account is being copied, is signed in, or, without --gone, was ever switched over",
    },
    {
        .name = "waive",
        .what = ACTION_WAIVE,
        .takes = NEEDS_NAME | TAKES_KEYS,
        .options = WITH_REASON | WITH_REMOVE | WITH_EACH | WITH_YES | WITH_STATE | CHOICE,
        .forms = {{"NAME KEY... --reason TEXT", "accept what was found: it stops nothing"},
                  {"NAME KEY... --remove [--reason TEXT]", "take that back"},
                  {"--all KIND... --reason TEXT [--yes] ...", "all of a kind, of many accounts"}},
        .more =
            "\"user NAME --report\" shows the key of each finding: MAILBOX:UID for whatever is found of one message, MAILBOX:KIND for "
            "all of a kind in one mailbox, KIND for all of it in the account. --all concerns accounts that are blocked or in backoff, and "
            "whose last pass found something of a KIND: without --yes it says how many these are. --domain, --rule, --backend, "
            "--why and --state say which of them.",
        .changes =
            "Keeps the waivers with the account; one that is blocked is queued again; one entry in the audit.",
        .refused =
            "there would be more than 10,000 waivers, or the last pass has seen no such message; with --remove: the account "
            "is in its cut-over, or there is no such waiver; with --all: --yes is not given",
    },
    {
        .name = "pause",
        .what = ACTION_PAUSE,
        .options = WITH_REASON | WITH_WAVE,
        .forms = {{"[--reason TEXT]", "stop all migrations"},
                  {"--wave NAME [--reason TEXT]", "stop those of one wave"}},
        .more =
            "What is being switched over at this moment is carried out; users go on working. Accounts of a paused wave are "
            "neither queued nor copied; \"migrate NAME\" moves one of them all the same.",
        .changes = "The brake of all migrators, or of one wave; one entry in the audit.",
    },
    {
        .name = "resume",
        .what = ACTION_RESUME,
        .options = WITH_REASON | WITH_WAVE,
        .forms = {{"[--wave NAME] [--reason TEXT]", "undo pause"}},
        .more = "All migrations and each wave are paused and resumed by themselves.",
        .changes = "The brake of all migrators, or of one wave; one entry in the audit.",
    },
    {
        .name = "doctor",
        .what = CTL_DOCTOR,
        .options = WITH_NO_PROXY,
        .forms = {{"", "check, and whether what runs is well"},
                  {"--without-proxy", "who would notice if it were taken away"}},
        .more =
            "Looks at all that check looks at, and besides at clocks, quotas, proxies and migrators, what is overdue, and whether Redis has "
            "lost something or is about to; each line says what to do. Ends with status 1 where anything would lose or delay mail. "
            "With --without-proxy it goes through all accounts instead.",
        .changes = "What the servers can do is stored for the proxies.",
        .refused = "somebody would notice (--without-proxy)",
    },
    {
        .name = "retire",
        .what = ACTION_RETIRE,
        .takes = TAKES_BACKEND,
        .options = WITH_ALL,
        .forms = {{"BACKEND [--all FILE]", "may an old server be switched off?"}},
        .more =
            "Looks for accounts that are still there, sessions, mail that arrived there in the last days, and what would be lost "
            "with it. A line is ok, a warning or an error. Accounts that never signed in through a proxy have no record, so give "
            "the list of all that the server has: one login name a line, \"-\": standard input.",
        .refused = "it has to stay",
    },
    {
        .name = "route export",
        .what = ACTION_EXPORT,
        .takes = TAKES_FILES,
        .forms = {{"FILE", "write where accounts live, for a backup"}},
        .more =
            "A line for each account that was ever switched over, or is held (\"-\": standard output), and one that counts them and has "
            "the groups. Journals have the flips, and neither holds nor groups.",
        .changes = "Writes FILE, once it is whole.",
    },
    {
        .name = "route move",
        .what = ACTION_MOVE,
        .takes = TAKES_FILES,
        .options = WITH_YES,
        .forms = {{"FILE [--yes]", "close the store, and take all out of it"}},
        .more =
            "For a site that gets more stores, or fewer: FILE has all that is known of all accounts, for \"route restore\" with a "
            "configuration that names the new ones. From then on nobody is signed in by the store, whatever a program's "
            "configuration says, and it stays as it is. Stop all proxies and migrators before; the handbook's page on Redis has "
            "the steps.",
        .changes = "Writes FILE, once it is whole; the store is closed.",
        .refused = "an account is being switched over; without --yes where a proxy or migrator is at work",
    },
    {
        .name = "route reopen",
        .what = ACTION_REOPEN,
        .options = WITH_YES,
        .forms = {{"--yes", "take \"route move\" back"}},
        .more =
            "The store is again what it was when it was closed. Only while the stores that the accounts were moved to have not "
            "worked: what these did is unknown to it.",
        .changes = "Opens the store, with a quarantine.",
        .refused = "no store was moved from here, or --yes is not given",
    },
    {
        .name = "route restore",
        .what = CTL_RESTORE,
        .takes = TAKES_FILES,
        .options = WITH_YES,
        .forms = {{"FILE... [--yes]", "make the store anew after a loss"}},
        .more =
            "FILE is the journal of a migrator (migrator.journal_dir, or the file flips in it) or an export. Give those of all hosts "
            "(that of this one is read anyhow): an account of which none is told lives on the old server. Groups are as the newest "
            "export has them, but for those whose accounts lie in several stores now, which are named. Stop all proxies and "
            "migrators before, and start them afterwards; the handbook has a page on it.",
        .changes = "Writes the routes and the store's record to an empty Redis.",
        .refused =
            "Redis holds a store; without --yes also where lines can't be read, an export may be cut off, an account is on no "
            "configured backend, or there is no account",
    },
    {
        .name = "route source",
        .what = ACTION_SOURCE,
        .takes = TAKES_BACKEND,
        .options = WITH_YES | WITH_REASON,
        .forms = {{"BACKEND", "what another migration.source would mean"},
                  {"BACKEND --yes --reason TEXT", "allow it"}},
        .more =
            "Accounts without a record live on migration.source. Redis remembers which one that is, and programs whose configuration says "
            "another refuse to work. For a site whose accounts without a record really are on another backend, or that has renamed it: "
            "stop all proxies and migrators, change the configuration of all hosts, say it here, start them.",
        .changes = "With --yes: where accounts without a record live; one entry in the audit.",
        .refused = "--yes is not given, or a proxy or migrator is alive",
    },
    {
        .name = "proxy forget",
        .what = ACTION_PROXY_FORGET,
        .takes = TAKES_PROXY,
        .options = WITH_YES | WITH_REASON,
        .forms = {{"NAME", "what declaring a proxy dead would mean"},
                  {"NAME --yes --reason TEXT", "declare it dead"}},
        .more =
            "Accounts wait for a silent proxy until its lease is over (lease_long), since it may still serve their users. NAME is its id, as "
            "status shows it. It is watched for the time of its lease first: one that lives is not forgotten. One that comes back drops its "
            "sessions.",
        .changes = "With --yes: nobody waits for the proxy any more; one entry in the audit.",
        .refused = "--yes is not given, or the proxy lives",
    },
    {
        .name = "completion",
        .what = CTL_COMPLETION,
        .takes = TAKES_SHELL,
        .forms = {{"SHELL", "print the completion for a shell"}},
        .more =
            "SHELL is bash, zsh or fish. make install puts them where the shells look; else for bash: eval \"$(imapferryctl "
            "completion bash)\". They complete verbs, options, states, reasons, kinds of findings, and backends as the "
            "configuration has them, but no names of accounts.",
    },
    {
        .name = "manual",
        .what = CTL_MANUAL,
        .takes = TAKES_PAGE,
        .forms = {{"[PAGE]", "print a manual page, for man"}},
        .more =
            "PAGE is imapferryctl, imapferry-proxy, imapferry-migrator or imapferry.conf. make install puts them where man "
            "looks; else: imapferryctl manual | man -l -",
    },
    {
        .name = "help",
        .what = CTL_HELP,
        .takes = TAKES_VERB,
        .forms = {{"[VERB]", "this; or more of one verb"}},
        .more = "",
    },
};
_Static_assert(COUNTOF(ctl_verbs) <= CTL_VERBS_MAX, "room for all verbs");
const size_t n_ctl_verbs = COUNTOF(ctl_verbs);

const struct ctl_flag ctl_flags[] = {
    {"--to", VALUE_BACKEND, "BACKEND", WITH_TO, "where to; else where the configuration moves it"},
    {"--to", VALUE_BACKEND, "BACKEND", WITH_WHERE, "where to; must be given"},
    {"--reason", VALUE_TEXT, "TEXT", WITH_REASON, "why, for the audit"},
    {"--state", VALUE_STATE, "STATE", WITH_STATE, "only those in this state"},
    {"--reason", VALUE_WHY, "WORD", WITH_WHY, "only those whose reason begins so"},
    {"--without-proxy", VALUE_NONE, NULL, WITH_NO_PROXY, "account by account, and mailbox by mailbox"},
    {"--wave", VALUE_WAVE, "NAME", WITH_WAVE, "of this wave alone"},
    {"--all", VALUE_NONE, NULL, WITH_EACH, "all that are backoff or blocked"},
    {"--now", VALUE_NONE, NULL, WITH_NOW, "switch it over as soon as it is copied"},
    {"--force", VALUE_NONE, NULL, WITH_FORCE, "without a copy"},
    {"--wait", VALUE_NONE, NULL, WITH_WAIT, "show its progress until it has ended"},
    {"--all", VALUE_FILE, "FILE", WITH_ALL, "the accounts of a list"},
    {"--report", VALUE_NONE, NULL, WITH_REPORT, "mailbox by mailbox, with what \"waive\" takes"},
    {"--remove", VALUE_NONE, NULL, WITH_REMOVE, "the other way round"},
    {"--out", VALUE_FOLDER, "DIR", WITH_OUT, "where the keys go"},
    {"--yes", VALUE_NONE, NULL, WITH_YES, "do it, whatever it means"},
    {"--yes", VALUE_NONE, NULL, WITH_EVEN_SO, "with --force: also if the user is not seen there"},
    {"--domain", VALUE_TEXT, "DOMAIN", WITH_DOMAIN, "only those of this domain"},
    {"--rule", VALUE_TEXT, "PATTERN", WITH_RULE, "only those that this rule fits first (\"-\": none)"},
    {"--backend", VALUE_BACKEND, "BACKEND", WITH_BACKEND, "only those that live there"},
    {"--why", VALUE_WHY, "WORD", WITH_WORD, "only those whose reason begins so"},
    {"--login-within", VALUE_TEXT, "TIME", WITH_WITHIN, "only who has logged in since, such as 7d"},
    {"--no-login-for", VALUE_TEXT, "TIME", WITH_BEYOND, "only who is not known to have"},
    {"--out", VALUE_FILE, "RESULT", WITH_RESULT, "where a line goes for each account"},
    {"--pause", VALUE_TEXT, "TIME", WITH_PAUSE, "between two accounts, such as 500ms"},
    {"--survey", VALUE_FILE, "RESULT", WITH_SURVEY, "what a survey has written"},
    {"--proof", VALUE_NONE, NULL, WITH_PROOF, "UIDs, size, date and SHA-256 of each message"},
    {"--gone", VALUE_NONE, NULL, WITH_GONE, "no server has the account any more"},
    {"--format", VALUE_FORMAT, "FORMAT", WITH_FORMAT, "text, json or csv"},
    {"--columns", VALUE_COLUMNS, "NAME,...", WITH_COLUMNS, "what to show"},
    {"--json", VALUE_NONE, NULL, WITH_JSON, "print one JSON object"},
};
_Static_assert(COUNTOF(ctl_flags) <= CTL_FLAGS_MAX, "room for all options");
const size_t n_ctl_flags = COUNTOF(ctl_flags);

const struct ctl_status ctl_statuses[] = {
    {ACTION_DONE, "done"},
    {ACTION_FAILED, "failed"},
    {ACTION_USAGE, "usage"},
    {ACTION_NO_RECORD, "no record of the account"},
    {ACTION_REFUSED, "its state does not allow it"},
    {ACTION_UNREACHABLE,
     "Redis is out of reach, or its replicas have not confirmed what was done: say it again"},
};
const size_t n_ctl_statuses = COUNTOF(ctl_statuses);

const struct ctl_column ctl_columns[] = {
    {"user", "USER", "user"},
    {"state", "STATE", "state"},
    {"on", "ON", "backend"},
    {"domain", "DOMAIN", "domain"},
    {"rule", "RULE", "rule"},
    {"from", "FROM", "source"},
    {"to", "TO", "target"},
    {"login", "LAST LOGIN", "last_login"},
    {"flipped", "FLIPPED", "flipped"},
    {"next", "NEXT TRY", "next_try"},
    {"attempts", "ATTEMPTS", "attempts"},
    {"mailboxes", "MAILBOXES", "mailboxes"},
    {"messages", "MESSAGES", "messages"},
    {"bytes", "SIZE", "bytes"},
    {"tiers", "TIERS", "tiers"},
    {"waived", "WAIVED", "waivers"},
    {"failed", "LAST FAILED", "last_failure"},
    {"reason", "REASON", "reason"},
};
const size_t n_ctl_columns = COUNTOF(ctl_columns);

const struct ctl_column *ctl_column_find(struct span name)
{
    for (size_t i = 0; i < n_ctl_columns; i++)
        if (span_is(name, ctl_columns[i].name))
            return &ctl_columns[i];
    return NULL;
}

const char *const ctl_shells[] = {"bash", "zsh", "fish", NULL};
const char *const ctl_pages[] = {"imapferryctl", "imapferry-proxy", "imapferry-migrator", "imapferry.conf",
                                 NULL};

const struct ctl_verb *ctl_verb_find(const char *name)
{
    for (size_t i = 0; i < n_ctl_verbs; i++)
        if (!strcmp(name, ctl_verbs[i].name))
            return &ctl_verbs[i];
    return NULL;
}

bool ctl_verb_takes(const struct ctl_verb *v, const struct ctl_flag *f)
{
    return (v->options | WITH_JSON) & f->option;
}

_Static_assert(WHY_COUNT + 2 <= CTL_WORDS_MAX, "room for all reasons");
void ctl_words_of(enum ctl_value v, const char **words)
{
    static const char *const formats[] = {"text", "json", "csv"};
    size_t n = 0;

    for (int i = 0; v == VALUE_STATE && i <= ROUTE_HELD; i++)
        words[n++] = route_state_name((enum route_state)i);
    for (int i = 0; v == VALUE_WHY && i < WHY_COUNT; i++)
        words[n++] = why_word((enum why)i);
    if (v == VALUE_WHY)
        words[n++] = "held";
    for (size_t i = 0; v == VALUE_FORMAT && i < COUNTOF(formats); i++)
        words[n++] = formats[i];
    for (size_t i = 0; v == VALUE_COLUMNS && i < n_ctl_columns; i++)
        words[n++] = ctl_columns[i].name;
    words[n] = NULL;
}
