#include "options.h"

enum { S = 1000, M = 60 * S, H = 60 * M };
#define DAY (24 * (uint64_t)H)

static const char *const backend_titles[] = {"old", "new", NULL};
static const char *const rule_titles[] = {"*@b.example", NULL};
static const char *const wave_titles[] = {"pilot", NULL};
static const char *const sign_in_words[] = {"passthrough", "master", "proxyauth", NULL};
static const char *const trigger_words[] = {"login", "manual", NULL};
static const char *const rule_trigger_words[] = {"default", "login", "manual", NULL};
static const char *const spread_words[] = {"account", "domain", NULL};
static const char *const cutover_words[] = {"immediate", "idle", "window", "manual", NULL};
static const char *const verify_words[] = {"full", "sample", "headers", NULL};
static const char *const numbers_words[] = {"auto", "doveadm", "cyrus", "none", NULL};
static const char *const account_words[] = {"address", "local_part", NULL};
static const char *const frozen_words[] = {"source", "temp", NULL};
static const char *const forward_id_words[] = {"none", "client", "neutral", NULL};
static const char *const proxy_protocol_words[] = {"none", "v1", "v2", NULL};
static const char *const client_name_words[] = {"email", "common_name", NULL};
static const char *const tls_words[] = {"1.0", "1.1", "1.2", "1.3", NULL};

static const char *const log_format_words[] = {"text", "json", NULL};

#define METRICS_LISTEN                                                                                        \
    "Where Prometheus asks for /metrics, and others for /healthz and /readyz: http://host:port, or "          \
    "http+unix:///path. No names of users are told, and nobody is asked for a password: an address that the " \
    "monitoring alone can reach is best. conf/METRICS.md tells what there is. Empty: nowhere."
#define LOG_FORMAT                                                                                           \
    "How each event is written, one a line: key=value (text), or an object (json). conf/EVENTS.md names "    \
    "them all."

/* "migration" is the last and can't be left out: so a file that was cut off between two sections is noticed
 * too. */
const struct section sections[] = {
    {"redis", offsetof(struct conf, redis), NULL,
     .text =
         "Where imapferry keeps who lives on which server. All proxies and migrators share this one store and "
         "nothing else."},
    {"backend", offsetof(struct conf, backends), backend_titles,
     .text =
         "The IMAP servers behind the proxy, each in a section with its name. The names are kept in the store: "
         "don't change them once accounts have been moved.",
     .count = offsetof(struct conf, n_backends), .size = sizeof(struct conf_backend)},
    {"proxy", offsetof(struct conf, proxy), NULL,
     .text = "imapferry-proxy: what the users' mail programs connect to."},
    {"delivery", offsetof(struct conf, delivery), NULL,
     .text = "Which mail addresses are accounts, for the sections that mail servers ask.", .optional = true},
    {"socketmap", offsetof(struct conf, socketmap), NULL,
     .text =
         "Where mail goes: each proxy answers the look-ups by which Postfix (transport_maps) and others ask for the server that "
         "an account's mail is delivered to, which follows each move. conf/handbook/delivery.md shows how.",
     .optional = true},
    {"lmtp", offsetof(struct conf, lmtp), NULL,
     .text =
         "Mail is delivered through the proxies by LMTP (RFC 2033): each recipient's mail goes to the server that the account lives on at "
         "that moment, as delivery of that backend says (lmtp:inet:host:port or lmtp:unix:/path). In the place of the section "
         "socketmap, or beside it. conf/handbook/lmtp.md shows how.",
     .optional = true},
    {"migrator", offsetof(struct conf, migrator), NULL,
     .text = "imapferry-migrator: copies accounts in the background."},
    {"admin", offsetof(struct conf, admin), NULL,
     .text =
         "The page and the HTTP API of imapferry-migrator, for staff: what imapferryctl does, in a browser and for programs. "
         "Each migrator that has this section serves it, and all show the same.",
     .optional = true},
    {"seal", offsetof(struct conf, seal), NULL,
     .text =
         "Users' passwords on their way from a proxy to the migrators, which need them where a backend has no "
         "master user: only then is this section needed. Make the keys with \"imapferryctl seal-key\" first. "
         "Proxies need the public key alone, and should not have the others.",
     .optional = true},
    {"rule", offsetof(struct conf, rules), rule_titles,
     .text =
         "Accounts that move from and to other servers than those of the section migration. The title is a pattern on "
         "the account, as imapferryctl shows it: \"*\" stands for any characters, \"?\" for one. The first rule "
         "that fits counts. Don't change the source of accounts that have no record yet: it says where their "
         "mail is.",
     .count = offsetof(struct conf, n_rules), .size = sizeof(struct conf_rule), .optional = true},
    {"wave", offsetof(struct conf, waves), wave_titles,
     .text =
         "Accounts that are moved a part at a time, each by its next login once it is its turn, whatever trigger says. An "
         "account that several waves name goes by the first of them; those in none go by trigger, so with waves that "
         "is mostly \"manual\". \"imapferryctl pause --wave NAME\" stops one of them, and too many failures do (stop_failure_share); "
         "\"status\" shows them all, and \"user NAME\" why it is not an account's turn. What staff migrate by name goes at once. SIGHUP takes waves that are new, "
         "changed or gone, and what their files say by then.",
     .count = offsetof(struct conf, n_waves), .size = sizeof(struct conf_wave), .optional = true,
     .exchanged = true},
    {"migration", offsetof(struct conf, migration), NULL,
     .text =
         "Who moves, from where to where, and when. This section must be there; it stands at the end, so that a "
         "file of which the end is missing is never taken for a whole one."},
};
const size_t n_sections = COUNTOF(sections);

const struct option options[] = {
    {"redis", "url", OPTION_LIST, offsetof(struct conf_redis, urls), .def = "{\"redis://127.0.0.1:6379/0\"}",
     .text =
         "redis://[[user]:password@]host[:port][/db], rediss:// for TLS, unix:///path[?db=N], or "
         "sentinel://host[:port],host[:port]/NAME[/db] for the master that these Sentinels call NAME, sentinels:// where they "
         "and the master are reached by TLS. Behind "
         "that, \"?sentinel_auth=[user]:password\" is for the Sentinels themselves, while a password in front of "
         "the hosts is the master's. cluster://[[user]:password@]host[:port],host[:port]?partitions=N is a Redis Cluster, of which "
         "these hosts are nodes, and in which accounts are spread over N stores, from 1 to 64, a number that never changes; clusters:// "
         "where they are reached by TLS. In a password, write \"%40\" for \"@\", "
         "\"%2F\" for \"/\" and \"%25\" for \"%\"; \"user@\" and \"sentinel_auth=user\" are for passwords that stand in "
         "files. conf/handbook/redis.md shows how Redis is set up for each of these. Several of them, in an order that never "
         "changes, are as many stores, over which accounts are spread: see there how a site gets more than one."},
    {"redis", "spread", OPTION_ENUM, offsetof(struct conf_redis, spread), .def = "account",
     .words = spread_words,
     .text =
         "What goes together where there are several stores: nothing, so that each account is in the one that its name "
         "gives (account); or the accounts of a domain, which can be in one group then, while a domain is never spread "
         "(domain). It was fixed when the stores were made; another one is a way as to more stores."},
    {"redis", "password_file", OPTION_STRING, offsetof(struct conf_redis, password_file), .def = "",
     .reload = RELOAD_FILE,
     .text =
         "A file that holds the password of Redis in its only line, where url has none. All programs read it."},
    {"redis", "sentinel_password_file", OPTION_STRING, offsetof(struct conf_redis, sentinel_password_file),
     .def = "",
     .text =
         "A file that holds the password of the Sentinels in its only line, where url has no sentinel_auth."},
    {"redis", "ca_file", OPTION_STRING, offsetof(struct conf_redis, ca_file), .def = "", .reload = RELOAD_YES,
     .text =
         "Certificate authorities (PEM) that sign the certificates of Redis and, with sentinels://, of the Sentinels. The "
         "system's where empty. This file and those of tls_cert and tls_key are read again before each connection, so that "
         "what is exchanged in them needs no SIGHUP; the user that the programs run as has to be able to read them."},
    {"redis", "pin", OPTION_LIST, offsetof(struct conf_redis, pin), .def = "", .reload = RELOAD_YES,
     .text =
         "The keys that these certificates must have, as {\"sha256//BASE64\"}, those of all servers; as pin of a backend. With "
         "ca_file it stands beside the authorities; without, in place of them: then the certificates' names, dates and "
         "signatures are nothing."},
    {"redis", "tls_name", OPTION_STRING, offsetof(struct conf_redis, tls_name), .def = "",
     .text =
         "The name that each of these certificates must be for. Empty: the host by which the server is reached; for a master "
         "that is what the Sentinels call it, its IP address, unless they were told \"sentinel announce-hostnames yes\". A name "
         "here is for certificates without IP addresses, and all of them have it beside their own."},
    {"redis", "tls_cert", OPTION_STRING, offsetof(struct conf_redis, tls_cert), .def = "",
     .reload = RELOAD_YES,
     .text =
         "The certificate (PEM, with its chain) that Redis and the Sentinels are shown. They ask for one unless they were told "
         "\"tls-auth-clients no\". Empty: none is shown."},
    {"redis", "tls_key", OPTION_STRING, offsetof(struct conf_redis, tls_key), .def = "", .reload = RELOAD_YES,
     .text = "The private key of tls_cert (PEM, not encrypted)."},
    {"redis", "prefix", OPTION_STRING, offsetof(struct conf_redis, prefix), .def = "imapferry",
     .text =
         "What all keys in Redis begin with, before a colon. Two imapferry installations on one Redis need "
         "different ones."},
    {"redis", "store_override", OPTION_BOOL, offsetof(struct conf_redis, store_override), .def = "false",
     .text =
         "Migrate even though Redis is set up so that it may forget routes (no append-only file, an eviction "
         "policy). A forgotten route sends a user back to the server that their mail has left: for tests only."},
    {"backend", "address", OPTION_LIST, offsetof(struct conf_backend, urls),
     .example = "\"imaps://%s.example.org\"", .reload = RELOAD_ADDRESSES,
     .text =
         "imaps://host[:port], imap+starttls://host[:port], imap://host[:port] (not encrypted) or "
         "imap+unix:///path. With TLS the certificate is always verified against the host. Where the same mail can be "
         "reached by several servers, all of them, as {\"imaps://a.example.org\", \"imaps://b.example.org\"}, with one "
         "scheme, which SIGHUP does not change; the addresses of a name count as several, too. They are tried in this order: the next one "
         "where one can't be connected to, shows no certificate that is believed, or does not greet. Such a "
         "one is left alone until it answers again, for which it is looked at after a second, and then less and less often, "
         "up to once a minute. When no address has answered to five logins in a row, further ones are answered NO "
         "[UNAVAILABLE] at once until one does (breaker_open and breaker_closed in the log, \"imapferryctl status\")."},
    {"backend", "spread", OPTION_BOOL, offsetof(struct conf_backend, spread), .def = "false",
     .reload = RELOAD_YES,
     .text =
         "Spread users over the addresses: each begins at one of them, by the login name and so always at the same one while "
         "the list stays the same, and goes on with those behind it where that one does not answer."},
    {"backend", "pop3", OPTION_STRING, offsetof(struct conf_backend, pop3_url), .def = "",
     .text =
         "Where this server speaks POP3 of the same mail: pop3s://host[:port], pop3+starttls://host[:port] (STLS) or "
         "pop3://host[:port] (not encrypted). ca_file, pin, tls_min and proxy_protocol hold for it too. For listeners with POP3, "
         "and for the comparison of UIDLs (\"imapferryctl plan\")."},
    {"backend", "ca_file", OPTION_STRING, offsetof(struct conf_backend, ca_file), .def = "",
     .reload = RELOAD_YES,
     .text = "Certificate authorities (PEM) that sign this backend's certificate. The system's where empty."},
    {"backend", "pin", OPTION_LIST, offsetof(struct conf_backend, pin), .def = "", .reload = RELOAD_YES,
     .text =
         "The key that this backend's certificate must have, as {\"sha256//BASE64\"}, the hash that curl's "
         "--pinnedpubkey takes; several while it is exchanged. The log says which key the server has where it is another one. With "
         "ca_file it stands beside the authorities; without, in place of them: then the certificate's names, "
         "dates and signatures are nothing."},
    {"backend", "tls_min", OPTION_ENUM, offsetof(struct conf_backend, tls_min), .def = "1.2",
     .words = tls_words, .reload = RELOAD_YES,
     .text =
         "The oldest version of TLS that this backend may speak: 1.0, 1.1, 1.2 or 1.3. Below 1.2 is for servers "
         "that nobody can bring up to date, and each start warns of it: it also takes signatures by SHA-1, RSA "
         "keys and DH groups from 1024 bits on (so \"1.1\" is right for a server that speaks 1.2 with an old "
         "certificate), and servers without secure renegotiation (RFC 5746). SSL 3, RC4, 3DES, MD5 and shorter "
         "keys are never taken, and the certificate is verified all the same."},
    {"backend", "sign_in", OPTION_ENUM, offsetof(struct conf_backend, sign_in), .def = "passthrough",
     .words = sign_in_words,
     .text =
         "How imapferry signs in on a user's behalf once the user has shown a password: with the same password "
         "(passthrough), as master_user for the user (master), or by the PROXYAUTH command of Sun and Oracle "
         "servers (proxyauth)."},
    {"backend", "master_user", OPTION_STRING, offsetof(struct conf_backend, master_user), .def = "",
     .example = "\"admin\"",
     .text =
         "An account that may sign in for every user. The migrator always uses it where it is set; where it is "
         "empty, it needs the user's own password (see the section seal)."},
    {"backend", "master_password_file", OPTION_STRING, offsetof(struct conf_backend, master_password_file),
     .def = "", .example = "\"/etc/imapferry/%s.secret\"", .reload = RELOAD_FILE,
     .text =
         "A file that holds the password of master_user in its only line. The migrator reads it, and so do "
         "proxies where auth_backend is set or sign_in is not passthrough."},
    {"backend", "master_login", OPTION_STRING, offsetof(struct conf_backend, master_login), .def = "",
     .text =
         "How user and master user are put together for a server that wants them in one name, such as \"%u*%m\" "
         "(%u: the user, %m: master_user). Where empty, they are sent apart (SASL PLAIN with an authorization "
         "identity)."},
    {"backend", "check_user", OPTION_STRING, offsetof(struct conf_backend, check_user), .def = "",
     .text =
         "A user who exists on this server, such as a test account, for whom master_user signs in to see what "
         "the server can do: when proxies and migrators start, and in \"imapferryctl check\". Where empty, "
         "master_user signs in for itself, which some servers, Dovecot among them, refuse."},
    {"backend", "auth_backend", OPTION_STRING, offsetof(struct conf_backend, auth_backend), .def = "",
     .text = "Name of another backend that checks users' passwords, where this one can't."},
    {"backend", "forward_id", OPTION_ENUM, offsetof(struct conf_backend, forward_id), .def = "none",
     .words = forward_id_words, .reload = RELOAD_YES,
     .text =
         "What this server is told by ID (RFC 2971) behind each sign-in: nothing (none), what the user's mail "
         "program says of itself, before or after its login (client), or (\"name\" \"imapferry\") for everybody "
         "(neutral). It is for servers that let nobody open a mailbox before that (\"Unsafe Login\"), and for "
         "those whose logs are to show who comes. With client, nothing is said for a mail program that says "
         "nothing, and the migrator says what neutral does; pairs whose name begins with \"x-\" are left out, "
         "since proxies use those to tell a server whose connection it is."},
    {"backend", "proxy_protocol", OPTION_ENUM, offsetof(struct conf_backend, proxy_protocol), .def = "none",
     .words = proxy_protocol_words, .reload = RELOAD_YES,
     .text =
         "The header of the PROXY protocol that each connection to this server begins with (none, v1 or v2), so that "
         "its logs and limits see the client's address. The server has to expect it at this port, from the proxies and "
         "the migrators alike, and from nobody else: an inet_listener with \"haproxy = yes\" and "
         "haproxy_trusted_networks in Dovecot, a service with \"imapd -H\" in Cyrus (3.12). Migrators, who have no client, "
         "say so in it. \"imapferryctl check\" tells what a server wants."},
    {"backend", "capabilities", OPTION_LIST, offsetof(struct conf_backend, capabilities), .def = "",
     .text =
         "What this server can do, other than it says: {\"-UIDPLUS\", \"APPENDLIMIT=52428800\"} hides one "
         "capability and adds or replaces another."},
    {"backend", "max_connections", OPTION_NUMBER, offsetof(struct conf_backend, max_connections), .def = "8",
     .min = 1, .max = 10000, .reload = RELOAD_YES,
     .text = "How many connections each migrator opens to this backend at most, all its jobs together."},
    {"backend", "max_messages_per_second", OPTION_NUMBER,
     offsetof(struct conf_backend, max_messages_per_second), .def = "0", .min = 0, .max = 1000000,
     .reload = RELOAD_YES,
     .text =
         "How many messages each migrator reads from this backend or stores there in a second at most, all its jobs "
         "together. 0: no limit."},
    {"backend", "max_bytes_per_second", OPTION_NUMBER, offsetof(struct conf_backend, max_bytes_per_second),
     .def = "0", .min = 0, .max = UINT32_MAX, .reload = RELOAD_YES,
     .text =
         "How many bytes of messages each migrator reads from this backend or stores there in a second at most, all "
         "its jobs together. 0: no limit."},
    {"backend", "compress", OPTION_BOOL, offsetof(struct conf_backend, compress), .def = "false",
     .reload = RELOAD_YES,
     .text =
         "Have the migrator's connections compressed where the backend can (COMPRESS=DEFLATE): for a slow line. It "
         "costs processor time on both ends."},
    {"backend", "numbers", OPTION_ENUM, offsetof(struct conf_backend, numbers), .def = "auto",
     .words = numbers_words, .reload = RELOAD_YES,
     .text =
         "How this server, as the target, is told the UIDVALIDITY and UIDs that the mailboxes of the source have, "
         "so that nobody's mail program downloads anything again: by the HTTP API of doveadm (doveadm), by SYNCGET "
         "and SYNCAPPLY of a Cyrus on which master_user is an administrator (cyrus), or not at all (none). With "
         "auto it is doveadm where doveadm_url is set, and cyrus where the server offers X-REPLICATION."},
    {"backend", "doveadm_url", OPTION_STRING, offsetof(struct conf_backend, doveadm_url), .def = "",
     .reload = RELOAD_YES,
     .text =
         "The HTTP API of doveadm of this server (https://host[:port]/doveadm/v1 or http://), which needs an "
         "inet_listener in its service doveadm and doveadm_api_key. Its certificate is verified, with ca_file "
         "where that is set."},
    {"backend", "doveadm_key_file", OPTION_STRING, offsetof(struct conf_backend, doveadm_key_file), .def = "",
     .reload = RELOAD_FILE,
     .text = "A file that holds the doveadm_api_key of this server in its only line. The migrator reads it."},
    {"backend", "delivery", OPTION_STRING, offsetof(struct conf_backend, delivery), .def = "",
     .example = "\"lmtp:inet:%s.example.org:24\"", .reload = RELOAD_YES,
     .text =
         "How mail is delivered to this server, as the mail server that asks writes it: for Postfix \"transport:nexthop\", such as "
         "\"lmtp:inet:old.example.org:24\" or \"smtp:[old.example.org]:25\". The section socketmap answers it."},
    {"backend", "provision", OPTION_LIST, offsetof(struct conf_backend, provision), .def = "",
     .text =
         "A program or URL like that of hook_freeze, with the event provision, that makes an account on this server before anything "
         "is copied there, such as {\"/etc/imapferry/provision.sh\", \"%u\"}; where it is there already, it has to leave it so, and succeed. It is run at the beginning of each "
         "attempt, so it may run twice for one account, or at two migrators at once. Where it fails, the account stays where it "
         "is and is tried again later. A program that ends with status 77, or a URL that answers 401, can do nothing without "
         "the user's password: the account waits for the next login."},
    {"backend", "provision_password", OPTION_BOOL, offsetof(struct conf_backend, provision_password),
     .def = "false",
     .text =
         "Give provision what the user has last signed in with, as far as proxies could seal it (section seal): on the standard input of a "
         "program the mechanism in a line (PLAIN for any password, OAUTHBEARER or XOAUTH2 for a token, none where nothing is "
         "at hand), and behind PLAIN the password in another one; to a URL as mechanism and password. A token itself is never "
         "given. No server tells an application's password from the user's own: say true only where users have one password."},
    {"backend", "provision_timeout", OPTION_DURATION, offsetof(struct conf_backend, provision_timeout_ms),
     .def = "1m", .min = S, .max = 30 * M, .reload = RELOAD_YES,
     .text = "How long provision may take; then it is killed, with all that it started, and has failed."},
    {"backend", "retired", OPTION_BOOL, offsetof(struct conf_backend, retired), .def = "false",
     .reload = RELOAD_YES,
     .text =
         "Say true before this server is switched off: then it is not looked at for late mail any more, nor by "
         "\"imapferryctl check\" and \"doctor\", nobody is moved to it or from it, and what only the way back to it needs is forgotten."},
    {"proxy", "listen", OPTION_LIST, offsetof(struct conf_proxy, listen), .def = "",
     .example = "{\"imaps://[::]:993\", \"imap+starttls://[::]:143\"}",
     .text =
         "Where to listen: imaps://, imap+starttls://, imap:// (not encrypted: sign-in only from this machine) "
         "or imap+unix:///path; for POP3 pop3s://, pop3+starttls:// (STLS) or pop3://, for which each backend needs its option "
         "pop3. Port 0 takes any free one, see the log. With \"?proxy_protocol\" behind it, as in "
         "\"imaps://[::]:1993?proxy_protocol\", each connection has to begin with a header of the PROXY protocol (v1 or "
         "v2), which load balancers send, and to come from one of the networks in trusted; all others are closed."},
    {"proxy", "trusted", OPTION_LIST, offsetof(struct conf_proxy, trusted), .def = "", .reload = RELOAD_YES,
     .text =
         "Networks, such as {\"192.0.2.10\", \"2001:db8:1::/64\"}, of load balancers, webmails and proxies that say for which client they come: by a PROXY header, or "
         "by ID (x-originating-ip, as Dovecot's proxies and webmails do). That address is the client's then, for "
         "limits, logs and the server behind. Nobody else is believed. List hosts of your own alone: who is in here can "
         "claim any address. Who may open a UNIX socket of ours is trusted, too."},
    {"proxy", "tls_cert", OPTION_STRING, offsetof(struct conf_proxy, tls_cert), .def = "",
     .example = "\"/etc/imapferry/proxy.pem\"", .reload = RELOAD_FILE,
     .text = "Certificate shown to clients with its chain, PEM: the one of the old server's host name."},
    {"proxy", "tls_key", OPTION_STRING, offsetof(struct conf_proxy, tls_key), .def = "",
     .example = "\"/etc/imapferry/proxy.key\"", .reload = RELOAD_FILE, .text = "Its private key, PEM."},
    {"proxy", "tls_certs", OPTION_LIST, offsetof(struct conf_proxy, tls_certs), .def = "",
     .reload = RELOAD_YES,
     .text =
         "More certificates, each with its chain, as {\"/etc/imapferry/b.pem+/etc/imapferry/b.key\"}, or one file "
         "that holds both certificate and key. A client is "
         "shown the one for the host name that it asks for (SNI), by the certificates' subjectAltNames, "
         "\"*.example.org\" too; tls_cert is for those that ask for none or for another. Where two of "
         "different kinds (ECDSA and RSA) have the name, a client is shown one that it can verify."},
    {"proxy", "tls_ticket_files", OPTION_LIST, offsetof(struct conf_proxy, tls_ticket_files), .def = "",
     .reload = RELOAD_YES,
     .text =
         "Files with the keys by which clients go on with an earlier TLS session, which spares proxy and client most "
         "of the handshake, such as {\"/etc/imapferry/ticket.key\"}: at each proxy that has the same keys, and after "
         "a restart. A key has 80 bytes; the first one of the first file is used, and two more are still known. "
         "\"imapferryctl ticket-key\" puts a new one in front: do it each day, bring the file to all proxies, and "
         "send them SIGHUP. Where empty, each proxy has keys of its own that nobody else knows, until it ends."},
    {"proxy", "tls_client_ca", OPTION_STRING, offsetof(struct conf_proxy, tls_client_ca), .def = "",
     .reload = RELOAD_FILE,
     .text =
         "Certificate authorities (PEM) of clients. Where it is set, clients are asked for a certificate. One "
         "that it does not sign counts as none. Such sessions are not resumed: each connection shows its "
         "certificate anew."},
    {"proxy", "tls_client_required", OPTION_BOOL, offsetof(struct conf_proxy, tls_client_required),
     .def = "false", .reload = RELOAD_YES,
     .text = "Let no client in that shows no certificate of tls_client_ca."},
    {"proxy", "tls_client_listen", OPTION_LIST, offsetof(struct conf_proxy, tls_client_listen), .def = "",
     .text =
         "Those of listen at which clients are asked for a certificate, as they are written there; the others "
         "neither ask nor go on with a session of these. Where empty, all with TLS ask. Some mail programs "
         "bother their users when they are asked, so a port of its own is best."},
    {"proxy", "tls_client_name", OPTION_ENUM, offsetof(struct conf_proxy, tls_client_name), .def = "email",
     .words = client_name_words, .reload = RELOAD_YES,
     .text =
         "With EXTERNAL in mechanisms: which name in the certificate is the login name: one of the mail addresses in its "
         "subjectAltName (email), or the commonName of its subject (common_name). Take what the authority has verified."},
    {"proxy", "tls_min", OPTION_ENUM, offsetof(struct conf_proxy, tls_min), .def = "1.2", .words = tls_words,
     .reload = RELOAD_YES,
     .text =
         "The oldest version of TLS that clients may speak: 1.0, 1.1, 1.2 or 1.3. Below 1.2 (and so with "
         "signatures by SHA-1) is for mail programs and devices of about 2013 and before that nobody is to be "
         "asked to change; each start warns of it. SSL 3, RC4 and 3DES are never spoken."},
    {"proxy", "threads", OPTION_NUMBER, offsetof(struct conf_proxy, threads), .def = "0", .max = 256,
     .text = "Threads that serve clients; 0: one for each core."},
    {"proxy", "id", OPTION_STRING, offsetof(struct conf_proxy, id), .def = "",
     .text = "Name of this proxy in the store and in logs, of its own for each. The host name where empty."},
    {"proxy", "user", OPTION_STRING, offsetof(struct conf_proxy, user), .def = "", .example = "\"imapferry\"",
     .text =
         "Who a proxy that is started as root goes on as, once it has bound its listeners and read its files: a user who "
         "owns nothing. SIGHUP reads this file and those that it names as this user, so let its group read them "
         "(root:imapferry, mode 640): the start warns of each that it can't read. Where empty, it stays who it was "
         "started as; as root it warns."},
    {"proxy", "group", OPTION_STRING, offsetof(struct conf_proxy, group), .def = "",
     .text =
         "The group that goes with user; the user's own where empty. It stays in the user's other groups."},
    {"proxy", "sandbox", OPTION_BOOL, offsetof(struct conf_proxy, sandbox), .def = "true",
     .text =
         "Give up all system calls and files that a proxy does not need once it serves (seccomp and Landlock, as far as the kernel has "
         "them). SIGHUP then reads files in the folders of the start alone; others need a restart. The log says what holds (sandbox)."},
    {"proxy", "upgrade_socket", OPTION_STRING, offsetof(struct conf_proxy, upgrade_socket), .def = "",
     .text =
         "A UNIX socket such as \"/run/imapferry/upgrade\", in a folder of user's alone. A proxy that is started while another one "
         "with the same socket runs takes its listeners and its id over, and that one drains and ends once the new one serves: "
         "nobody is refused. Only root and the proxy's own user are heard. Where empty, a second one finds its ports taken."},
    {"proxy", "metrics_listen", OPTION_STRING, offsetof(struct conf_proxy, metrics_listen), .def = "",
     .example = "\"http://127.0.0.1:9143\"", .text = METRICS_LISTEN},
    {"proxy", "log_format", OPTION_ENUM, offsetof(struct conf_proxy, log_format), .def = "text",
     .words = log_format_words, .text = LOG_FORMAT},
    {"proxy", "allow_plaintext", OPTION_BOOL, offsetof(struct conf_proxy, allow_plaintext), .def = "false",
     .reload = RELOAD_YES,
     .text =
         "Let users sign in without encryption from other machines too. A load balancer that ends TLS itself needs it: what a "
         "PROXY header says of TLS is not believed."},
    {"proxy", "mechanisms", OPTION_LIST, offsetof(struct conf_proxy, mechanisms),
     .def = "{\"PLAIN\", \"LOGIN\"}", .reload = RELOAD_YES,
     .text =
         "How users may sign in, which is what AUTHENTICATE takes and what clients are shown: PLAIN and LOGIN by name and "
         "password, OAUTHBEARER and XOAUTH2 by the token of an identity provider. Whatever the backends offer: towards them, "
         "a password goes by PLAIN or the command LOGIN, which clients may use too where one of the two is named here; a "
         "token goes by OAUTHBEARER or XOAUTH2, so name these only where the backends have one of the two. EXTERNAL: by the "
         "certificate that a client shows (tls_client_ca); it is offered to those who show one, and the backends, each of "
         "which needs sign_in master or proxyauth for it, are signed in to by their masters."},
    {"proxy", "masters", OPTION_LIST, offsetof(struct conf_proxy, masters), .def = "", .reload = RELOAD_YES,
     .example = "{\"webmail@example.org\"}",
     .text =
         "Login names of those who may sign in as other users, by AUTHENTICATE PLAIN with an authorization identity and their "
         "own password: a webmail, a backup, support. The backend decides whether they may: it is shown both names, as its "
         "master_login says where that is set. From all others that is refused like a wrong password."},
    {"proxy", "compress", OPTION_BOOL, offsetof(struct conf_proxy, compress), .def = "true",
     .reload = RELOAD_YES,
     .text =
         "Offer compression to clients that have signed in (COMPRESS=DEFLATE), whatever the backends can do: for slow "
         "lines and phones. It costs processor time, 3 to 9 s for each GiB that clients download by it."},
    {"proxy", "login_tries", OPTION_NUMBER, offsetof(struct conf_proxy, login_tries), .def = "3", .min = 1,
     .max = 100, .reload = RELOAD_YES, .text = "Wrong passwords until a connection is closed."},
    {"proxy", "login_delay", OPTION_DURATION, offsetof(struct conf_proxy, login_delay_ms), .def = "1s",
     .max = M, .reload = RELOAD_YES,
     .text =
         "How long an account's next password from a network (an IPv4 address, or a /64 of IPv6) waits after a wrong one from there; "
         "twice as long after the next, and so on, whichever proxy it comes to. Failures of the account from other networks "
         "count with them, but networks without a failure never wait. From the eleventh failure on, all accounts wait there that "
         "have not signed in from there of late. The same password once more is not counted again. 0s: nobody waits."},
    {"proxy", "login_delay_max", OPTION_DURATION, offsetof(struct conf_proxy, login_delay_max_ms),
     .def = "15s", .max = 5 * M, .reload = RELOAD_YES, .text = "The longest such wait."},
    {"proxy", "login_delay_memory", OPTION_DURATION, offsetof(struct conf_proxy, login_delay_memory_ms),
     .def = "10m", .min = 100, .max = DAY, .reload = RELOAD_YES,
     .text = "How long after the last one failures are forgotten."},
    {"proxy", "max_connections_per_account", OPTION_NUMBER,
     offsetof(struct conf_proxy, max_connections_per_account), .def = "0", .max = 1000000,
     .reload = RELOAD_YES,
     .text =
         "Signed-in connections that an account may have, at all proxies together; a login more is answered "
         "NO [LIMIT]. Mail programs hold five to ten each. 0: any number."},
    {"proxy", "max_connections_per_network", OPTION_NUMBER,
     offsetof(struct conf_proxy, max_connections_per_network), .def = "0", .max = 1000000,
     .reload = RELOAD_YES,
     .text =
         "The same for all accounts of a network, an IPv4 address or a /64 of IPv6, at this proxy. Networks in trusted "
         "that do not say for which client they come have no limit. Behind one address there may be many "
         "users. 0: any number. Connections that have not signed in yet have limits of their own: one network gets "
         "half of the places."},
    {"proxy", "lease", OPTION_DURATION, offsetof(struct conf_proxy, lease_ms), .def = "10s", .min = 300,
     .max = 10 * M,
     .text =
         "How long a proxy that can't reach Redis goes on serving accounts that are being moved. A migrator "
         "waits as long for a proxy that has died; where proxy and migrator are set to different times, the "
         "longer one counts."},
    {"proxy", "lease_long", OPTION_DURATION, offsetof(struct conf_proxy, lease_long_ms), .def = "10m",
     .min = 300, .max = DAY,
     .text =
         "The same for accounts that are not being moved: how long an outage of Redis goes unnoticed by the "
         "users who are signed in."},
    {"proxy", "hold_max", OPTION_DURATION, offsetof(struct conf_proxy, hold_max_ms), .def = "20s", .min = 100,
     .max = 5 * M, .reload = RELOAD_YES,
     .text = "How long a login waits at most while its account is being switched over."},
    {"proxy", "drain_time", OPTION_DURATION, offsetof(struct conf_proxy, drain_time_ms), .def = "10s",
     .max = H, .reload = RELOAD_YES,
     .text =
         "The time over which a proxy that is being stopped spreads the ends of its sessions, so that not all "
         "users come back in the same second."},
    {"proxy", "tls_timeout", OPTION_DURATION, offsetof(struct conf_proxy, tls_timeout_ms), .def = "10s",
     .min = 100, .max = 10 * M, .reload = RELOAD_YES, .text = "Time for a TLS handshake."},
    {"proxy", "login_timeout", OPTION_DURATION, offsetof(struct conf_proxy, login_timeout_ms), .def = "60s",
     .min = 100, .max = H, .reload = RELOAD_YES, .text = "Time from connecting to being signed in."},
    {"proxy", "store_timeout", OPTION_DURATION, offsetof(struct conf_proxy, store_timeout_ms), .def = "5s",
     .min = 100, .max = 10 * M, .text = "Time for an answer of Redis."},
    {"proxy", "connect_timeout", OPTION_DURATION, offsetof(struct conf_proxy, connect_timeout_ms),
     .def = "10s", .min = 100, .max = 10 * M, .reload = RELOAD_YES,
     .text = "Time to connect to a backend, TLS included."},
    {"proxy", "backend_timeout", OPTION_DURATION, offsetof(struct conf_proxy, backend_timeout_ms),
     .def = "30s", .min = 100, .max = H, .reload = RELOAD_YES,
     .text = "Time for each of a backend's answers while signing in."},
    {"proxy", "idle_timeout", OPTION_DURATION, offsetof(struct conf_proxy, idle_timeout_ms), .def = "35m",
     .min = S, .max = 7 * DAY, .reload = RELOAD_YES,
     .text =
         "A session in which nothing happens for so long is closed. Below 30m is against RFC 3501 (5.4) and "
         "makes clients reconnect all day."},
    {"proxy", "close_timeout", OPTION_DURATION, offsetof(struct conf_proxy, close_timeout_ms), .def = "5s",
     .min = 100, .max = 10 * M, .reload = RELOAD_YES,
     .text =
         "Time to send the last words to a client that is slow to read, and for a server to answer LOGOUT."},
    {"delivery", "domains", OPTION_LIST, offsetof(struct conf_delivery, domains), .def = "",
     .reload = RELOAD_YES, .example = "{\"example.org\", \"*.example.org\"}",
     .text =
         "The domains whose addresses are accounts here (\"*\" stands for any characters, \"?\" for one). All other addresses are "
         "nobody's: a mail server that asks for mail on its way elsewhere is told that it is not ours. Where empty, it is "
         "default_domain alone."},
    {"delivery", "account", OPTION_ENUM, offsetof(struct conf_delivery, account), .def = "address",
     .words = account_words, .reload = RELOAD_YES,
     .text =
         "Which part of an address is the login name: all of it (address), or what stands before the \"@\" (local_part), where users "
         "sign in without a domain and there is no default_domain. aliases hold for both."},
    {"delivery", "recipient_delimiter", OPTION_STRING, offsetof(struct conf_delivery, recipient_delimiter),
     .def = "+", .reload = RELOAD_YES,
     .text =
         "Characters at which the extension of an address begins, as in ann+lists@example.org, as the mail server has it. Where "
         "nobody is known by the whole address, it is ann's. Empty: addresses have none."},
    {"socketmap", "listen", OPTION_LIST, offsetof(struct conf_socketmap, listen), .def = "",
     .example = "{\"inet://127.0.0.1:8026\"}",
     .text =
         "Where mail servers ask: inet://host:port or unix:///path, each with every proxy. Nothing is encrypted and nobody shows a "
         "password. Each backend that accounts live on needs delivery. Empty: nowhere."},
    {"socketmap", "trusted", OPTION_LIST, offsetof(struct conf_socketmap, trusted), .def = "",
     .reload = RELOAD_YES, .example = "{\"192.0.2.25\", \"2001:db8:25::/64\"}",
     .text =
         "Networks of the mail servers that may ask, besides this host and who may open a UNIX socket of ours. Others are closed."},
    {"socketmap", "frozen_answer", OPTION_ENUM, offsetof(struct conf_socketmap, frozen_answer),
     .def = "source", .words = frozen_words, .reload = RELOAD_YES,
     .text =
         "What is answered in the seconds in which an account is switched over: the server that it leaves (source; what arrives "
         "there by then is brought over within late_watch, so don't set that to 0s), or \"try again\" (temp), after which most "
         "mail servers wait for some minutes."},
    {"lmtp", "listen", OPTION_LIST, offsetof(struct conf_lmtp, listen), .def = "",
     .example = "{\"inet://127.0.0.1:24\"}",
     .text =
         "Where mail servers deliver: inet://host:port or unix:///path, each with every proxy. Nothing is encrypted and nobody "
         "shows a password. Empty: nowhere."},
    {"lmtp", "trusted", OPTION_LIST, offsetof(struct conf_lmtp, trusted), .def = "", .reload = RELOAD_YES,
     .example = "{\"192.0.2.25\", \"2001:db8:25::/64\"}",
     .text =
         "Networks of the mail servers that may deliver, besides this host and who may open a UNIX socket of ours. Others get 421."},
    {"lmtp", "max_connections", OPTION_NUMBER, offsetof(struct conf_lmtp, max_connections), .def = "200",
     .min = 1, .max = 100000, .reload = RELOAD_YES,
     .text =
         "Connections of mail servers to one thread of a proxy; further ones get 421. Each has up to one to each backend."},
    {"lmtp", "max_recipients", OPTION_NUMBER, offsetof(struct conf_lmtp, max_recipients), .def = "1000",
     .min = 100, .max = 10000, .reload = RELOAD_YES,
     .text =
         "Recipients of one message; for further ones RCPT gets 452, and the mail server sends it once more for them."},
    {"lmtp", "hold_max", OPTION_DURATION, offsetof(struct conf_lmtp, hold_max_ms), .def = "60s", .min = 100,
     .max = 4 * M, .reload = RELOAD_YES,
     .text =
         "How long the recipients of a message wait at most, all together, while their accounts are switched over. Then it is 451, and "
         "the mail server tries again later. Mail servers wait 5 minutes for RCPT (RFC 5321 4.5.3.2)."},
    {"lmtp", "command_timeout", OPTION_DURATION, offsetof(struct conf_lmtp, command_timeout_ms), .def = "5m",
     .min = 100, .max = H, .reload = RELOAD_YES, .text = "Time a mail server has for its next command."},
    {"lmtp", "data_timeout", OPTION_DURATION, offsetof(struct conf_lmtp, data_timeout_ms), .def = "3m",
     .min = 100, .max = H, .reload = RELOAD_YES,
     .text = "How long nothing of a message may come from a mail server, or be taken by the server behind."},
    {"lmtp", "connect_timeout", OPTION_DURATION, offsetof(struct conf_lmtp, connect_timeout_ms), .def = "10s",
     .min = 100, .max = 5 * M, .reload = RELOAD_YES, .text = "Time to connect to the server behind."},
    {"lmtp", "reply_timeout", OPTION_DURATION, offsetof(struct conf_lmtp, reply_timeout_ms), .def = "45s",
     .min = 100, .max = H, .reload = RELOAD_YES,
     .text =
         "Time that server has for its greeting and for each answer. Several of these, and hold_max, should fit into the 5 minutes for "
         "which a mail server waits for RCPT."},
    {"lmtp", "final_timeout", OPTION_DURATION, offsetof(struct conf_lmtp, final_timeout_ms), .def = "9m",
     .min = 100, .max = H, .reload = RELOAD_YES,
     .text =
         "Time that server has for each answer behind the last dot. Shorter than that of the mail servers in front (10 minutes): else "
         "they give up first, and send again what is delivered already."},
    {"migrator", "jobs", OPTION_NUMBER, offsetof(struct conf_migrator, jobs), .def = "4", .min = 1,
     .max = 1000, .reload = RELOAD_YES, .text = "Accounts that this migrator copies at the same time."},
    {"migrator", "late_looks", OPTION_NUMBER, offsetof(struct conf_migrator, late_looks), .def = "8",
     .min = 1, .max = 1000, .reload = RELOAD_YES,
     .text =
         "Accounts that this migrator looks at at the same time for mail that still arrives on the server that "
         "they have left (late_watch, and daily afterwards). They take no place of jobs, and at most half of a "
         "backend's max_connections."},
    {"migrator", "id", OPTION_STRING, offsetof(struct conf_migrator, id), .def = "",
     .text =
         "Name of this migrator in the store and in logs, of its own for each. The host name where empty."},
    {"migrator", "user", OPTION_STRING, offsetof(struct conf_migrator, user), .def = "",
     .example = "\"imapferry-migrator\"",
     .text =
         "Who a migrator that is started as root goes on as, like user of the section proxy; better another user than the "
         "proxies' on the same host, since it may read more. journal_dir has to be this user's to write; where there is none, it is made so. Hooks "
         "run as this user, too, and can gain no rights by set-user-ID (sudo)."},
    {"migrator", "group", OPTION_STRING, offsetof(struct conf_migrator, group), .def = "",
     .text = "The group that goes with user; the user's own where empty."},
    {"migrator", "sandbox", OPTION_BOOL, offsetof(struct conf_migrator, sandbox), .def = "true",
     .text =
         "As in the section proxy. Where a hook is a program, which inherits all of it, files stay open, and only those system calls are "
         "given up that no program needs."},
    {"migrator", "journal_dir", OPTION_STRING, offsetof(struct conf_migrator, journal_dir),
     .def = "/var/lib/imapferry",
     .text =
         "Folder in which each switch-over of an account is written down, besides Redis. Keep it on a disk that "
         "survives."},
    {"migrator", "proofs", OPTION_BOOL, offsetof(struct conf_migrator, proofs), .def = "true",
     .reload = RELOAD_YES,
     .text =
         "Whether journal_dir also keeps, for each account that is switched over, the SHA-256 of every message with its UIDs on both "
         "servers: \"imapferryctl report NAME --proof\". It takes about 100 bytes a message; where they can't be written, the "
         "account stays where it is until they can."},
    {"migrator", "retry_min", OPTION_DURATION, offsetof(struct conf_migrator, retry_min_ms), .def = "1m",
     .min = 100, .max = 7 * DAY, .reload = RELOAD_YES,
     .text = "How long a migration that failed rests until it is tried again; doubled with each attempt."},
    {"migrator", "retry_max", OPTION_DURATION, offsetof(struct conf_migrator, retry_max_ms), .def = "6h",
     .min = 100, .max = 30 * DAY, .reload = RELOAD_YES,
     .text = "The longest rest of a migration that failed."},
    {"migrator", "audit_keep", OPTION_DURATION, offsetof(struct conf_migrator, audit_keep_ms), .def = "365d",
     .min = 0, .max = 3650 * DAY, .reload = RELOAD_YES,
     .text =
         "How long Redis keeps who did what to which account and why, and what came late: entries of the audit that are older are "
         "removed, also those of accounts that were forgotten. \"0s\" keeps them until there are 100,000 newer ones."},
    {"migrator", "job_lease", OPTION_DURATION, offsetof(struct conf_migrator, job_lease_ms), .def = "30s",
     .min = 300, .max = 1 * H,
     .text =
         "How long a migrator may show no sign of life before another one takes its jobs over. Where the two are "
         "set to different times, the longer one counts."},
    {"migrator", "metrics_listen", OPTION_STRING, offsetof(struct conf_migrator, metrics_listen), .def = "",
     .example = "\"http://127.0.0.1:9144\"", .text = METRICS_LISTEN},
    {"migrator", "log_format", OPTION_ENUM, offsetof(struct conf_migrator, log_format), .def = "text",
     .words = log_format_words, .text = LOG_FORMAT},
    {"migrator", "command_timeout", OPTION_DURATION, offsetof(struct conf_migrator, command_timeout_ms),
     .def = "5m", .min = 100, .max = 1 * H,
     .text =
         "How long a backend that owes an answer may send nothing before the migrator closes the connection."},
    {"admin", "listen", OPTION_STRING, offsetof(struct conf_admin, listen), .def = "",
     .example = "\"http://127.0.0.1:8025\"",
     .text =
         "Where it is served: http://host[:port] on this host alone (127.0.0.1, [::1] or localhost), since tokens would else "
         "be read on their way; https://host[:port] with tls_cert and tls_key; or http+unix:///path, for a web server in front of it. "
         "Empty: nowhere. To see it from elsewhere: ssh -L 8025:127.0.0.1:8025 HOST, then http://localhost:8025/."},
    {"admin", "token_file", OPTION_STRING, offsetof(struct conf_admin, token_file), .def = "",
     .example = "\"/etc/imapferry/tokens\"", .reload = RELOAD_FILE,
     .text =
         "Who may ask: a file, mode 640 at most, with a line \"ROLE NAME TOKEN\" for each. ROLE is read (looks) or operator (changes, "
         "too); NAME stands in the audit; TOKEN is at least 32 letters and digits, such as \"openssl rand -hex 32\" makes. "
         "SIGHUP reads it anew."},
    {"admin", "tls_cert", OPTION_STRING, offsetof(struct conf_admin, tls_cert), .def = "",
     .text = "The certificate chain for https, PEM, the server's own first."},
    {"admin", "tls_key", OPTION_STRING, offsetof(struct conf_admin, tls_key), .def = "",
     .text = "The private key of tls_cert, PEM, not encrypted."},
    {"admin", "names", OPTION_LIST, offsetof(struct conf_admin, names), .def = "", .reload = RELOAD_YES,
     .text =
         "The host names by which browsers ask for it, such as {\"ferry.example.org\"}, besides localhost and addresses. A request "
         "by any other name is refused: some other site's name that leads here would let that site's pages ask, too."},
    {"seal", "public_key_file", OPTION_STRING, offsetof(struct conf_seal, public_key_file), .def = "",
     .example = "\"/etc/imapferry/seal.pub\"", .reload = RELOAD_FILE,
     .text = "Key to seal with (proxies). Empty: passwords are not kept for the migrators."},
    {"seal", "private_key_files", OPTION_LIST, offsetof(struct conf_seal, private_key_files), .def = "",
     .example = "{\"/etc/imapferry/seal.key\"}", .reload = RELOAD_FILE,
     .text = "Keys to open with (migrators); several while keys are being exchanged."},
    {"rule", "source", OPTION_STRING, offsetof(struct conf_rule, source), .example = "\"old\"",
     .text = "The backend that these users leave. Those without a record in the store live here."},
    {"rule", "target", OPTION_STRING, offsetof(struct conf_rule, target), .example = "\"new\"",
     .text = "The backend that they go to."},
    {"rule", "trigger", OPTION_ENUM, offsetof(struct conf_rule, trigger), .def = "default",
     .words = rule_trigger_words, .reload = RELOAD_YES,
     .text =
         "What starts the migration of these accounts: their next login (login), only \"imapferryctl migrate\" "
         "(manual), or what the section migration says (default)."},
    {"wave", "accounts", OPTION_LIST, offsetof(struct conf_wave, accounts),
     .example = "{\"/etc/imapferry/pilot.txt\", \"*@it.example.org\"}", .reload = RELOAD_YES,
     .text =
         "Whom it means: patterns as in the title of a rule, and the absolute path of a file with one login name a line (\"#\" begins a comment), which all "
         "programs read. {\"*\"} are all that no wave before it names."},
    {"wave", "share", OPTION_NUMBER, offsetof(struct conf_wave, share), .def = "100", .max = 100,
     .reload = RELOAD_YES, .example = "5",
     .text =
         "Per cent of these accounts that are moved, of those who log in: always the same ones, and when it is raised, more "
         "besides them. The others wait."},
    {"wave", "after", OPTION_STRING, offsetof(struct conf_wave, after), .def = "", .reload = RELOAD_YES,
     .example = "\"2026-12-01 20:00\"",
     .text = "When it begins, in local time: \"2026-12-01 20:00\", or \"2026-12-01\". At once where empty."},
    {"wave", "per_day", OPTION_NUMBER, offsetof(struct conf_wave, per_day), .def = "0", .max = 100000000,
     .reload = RELOAD_YES, .example = "500",
     .text =
         "How many accounts it begins to move a day, from midnight on in local time, by all proxies together; 0: any "
         "number."},
    {"migration", "source", OPTION_STRING, offsetof(struct conf_migration, source), .example = "\"old\"",
     .text = "The backend that users leave. Users without a record in the store live here."},
    {"migration", "target", OPTION_STRING, offsetof(struct conf_migration, target), .example = "\"new\"",
     .text = "The backend that they go to."},
    {"migration", "default_domain", OPTION_STRING, offsetof(struct conf_migration, default_domain), .def = "",
     .text = "Domain of users who sign in without one: with \"example.org\", \"ann\" is the same account as "
             "\"ann@example.org\"."},
    {"migration", "aliases", OPTION_LIST, offsetof(struct conf_migration, aliases), .def = "",
     .text = "Second login names of accounts, as \"alias=account\", so that no account is moved twice."},
    {"migration", "rename", OPTION_LIST, offsetof(struct conf_migration, rename), .def = "",
     .text =
         "Mailboxes that are called something else on the target, as \"old name=new name\", both as the source "
         "spells them: {\"Sent Items=Sent\", \"Archives/*=Archive/*\"}. What lies below goes along. Who comes "
         "through the proxy goes on seeing the old names. % stands for any bytes but the hierarchy "
         "separator, * for any bytes; both sides have the same ones in the same order. The first rule that means "
         "a name is the only one. Two mailboxes never become one: an account that has both is not moved. A "
         "backslash (two of them in this file) makes %, *, = and itself plain characters."},
    {"migration", "exclude", OPTION_LIST, offsetof(struct conf_migration, exclude), .def = "",
     .text = "Mailboxes that are not copied, with all below them, by the same patterns: {\"Calendar\", "
             "\"Public/*\"}. Each account's report names them, and nobody has to waive them."},
    {"migration", "leave_out", OPTION_LIST, offsetof(struct conf_migration, leave_out), .def = "",
     .text =
         "Messages that are not copied: a pattern of mailboxes (or none: all), then one or more of larger:SIZE "
         "(K, M, G), older:AGE (h, d) and flag:NAME, which must all be so: {\"larger:100M\", \"Trash "
         "older:30d\", \"flag:\\\\Deleted\"}. Each account's report counts them, and nobody has to waive them."},
    {"migration", "acl_map", OPTION_LIST, offsetof(struct conf_migration, acl_map), .def = "",
     .text =
         "Who is meant on the target by a name in an access control list of the source, as \"old=new\", by "
         "patterns as for rename: {\"*@old.example.org=*@example.org\"}."},
    {"migration", "group_max", OPTION_NUMBER, offsetof(struct conf_migration, group_max), .def = "20",
     .min = 2, .max = 1000,
     .text =
         "Accounts that share mailboxes find them only while they are on the same server, so they move in the same hour. Up to so many "
         "is a group that staff can oversee: \"imapferryctl report --survey\" says which are larger, and which accounts hold them "
         "together."},
    {"migration", "trigger", OPTION_ENUM, offsetof(struct conf_migration, trigger), .def = "login",
     .words = trigger_words, .reload = RELOAD_YES,
     .text =
         "What starts the migration of an account: its next login (login), or only \"imapferryctl migrate\" "
         "(manual)."},
    {"migration", "cutover", OPTION_ENUM, offsetof(struct conf_migration, cutover), .def = "immediate",
     .words = cutover_words, .reload = RELOAD_YES,
     .text =
         "When a copied account is switched over: as soon as the copy is verified (immediate), when its user "
         "does nothing (idle), at set times (window), or by \"imapferryctl flip\" (manual)."},
    {"migration", "idle_time", OPTION_DURATION, offsetof(struct conf_migration, idle_time_ms), .def = "5m",
     .min = S, .max = DAY, .reload = RELOAD_YES,
     .text =
         "With cutover = \"idle\": how long all sessions of an account must have been without a command before "
         "it counts as idle. What mail programs send by themselves does not count: IDLE, NOOP, CHECK, STATUS, "
         "LIST, LSUB, a login, and what asks about the server. An account that is always in use waits: "
         "\"imapferryctl user\" says since when, and \"imapferryctl migrate NAME --now\" switches it over."},
    {"migration", "window", OPTION_LIST, offsetof(struct conf_migration, window), .def = "",
     .example = "{\"Mon-Fri 20:00-06:00\", \"Sat,Sun 00:00-24:00\"}", .reload = RELOAD_YES,
     .text =
         "With cutover = \"window\": the times in which accounts are switched over, in the time zone of the "
         "migrators. A day is the one on which a time begins."},
    {"migration", "freeze_jitter", OPTION_DURATION, offsetof(struct conf_migration, freeze_jitter_ms),
     .def = "0s", .max = H, .reload = RELOAD_YES,
     .text =
         "Each switch-over waits for a random time up to this one, so that many accounts that are ready at once "
         "(when a window opens) are spread."},
    {"migration", "max_flips_per_minute", OPTION_NUMBER,
     offsetof(struct conf_migration, max_flips_per_minute), .def = "0", .max = 100000, .reload = RELOAD_YES,
     .text =
         "How many accounts are switched over in a minute at most, by all migrators together; 0: any number. Those of a group go together, "
         "and each counts."},
    {"migration", "stop_failure_share", OPTION_NUMBER, offsetof(struct conf_migration, stop_failure_share),
     .def = "50", .max = 100, .reload = RELOAD_YES,
     .text =
         "What share of the last 20 attempts to switch an account over, in per cent, may fail. When more have "
         "(and there were 5 attempts at least), all migrations are paused, as by \"imapferryctl pause\". 100: "
         "never."},
    {"migration", "freeze_budget", OPTION_DURATION, offsetof(struct conf_migration, freeze_budget_ms),
     .def = "5s", .min = 100, .max = 5 * M, .reload = RELOAD_YES,
     .text =
         "How long an account may stand still while it is switched over; after that it goes on as before and is "
         "tried again later."},
    {"migration", "hook_freeze", OPTION_LIST, offsetof(struct conf_migration, hook_freeze), .def = "",
     .text =
         "A program and its arguments that the migrator runs when all sessions of an account rest, before it "
         "looks at the old server for the last time. It is there to close that server to what bypasses the "
         "proxy, such as by {\"/usr/bin/doveadm\", \"kick\", \"%u\"}. %u: the login name, %k: the account, %s "
         "and %t: the backends that it leaves and goes to, %e: freeze, flip, settle or kick, %%: a percent sign. "
         "Instead of a program it may be a URL, such as {\"https://mail.example.org/moved\"}, and behind it, "
         "where need be, the file of the CAs to trust: the URL is sent the same as JSON by POST, and has to "
         "answer with a status of 200 to 299. Where the hook fails, or takes longer than the freeze may, the "
         "account goes on as before and is tried again later."},
    {"migration", "hook_flip", OPTION_LIST, offsetof(struct conf_migration, hook_flip), .def = "",
     .text =
         "A program or URL like that of hook_freeze, run once an account has been switched over. Where it fails, "
         "it is tried three times more. A migrator that dies meanwhile leaves it to another, so it may run twice."},
    {"migration", "hook_settle", OPTION_LIST, offsetof(struct conf_migration, hook_settle), .def = "",
     .text = "A program or URL like that of hook_flip, run once the time of late_watch is over."},
    {"migration", "hook_kick", OPTION_LIST, offsetof(struct conf_migration, hook_kick), .def = "",
     .text =
         "A program or URL like that of hook_freeze, run before an account is switched over to a server that may "
         "still be doing what a migrator that died had asked it for. It has to end all connections of the "
         "account to the new server before it comes back, such as by {\"/usr/bin/doveadm\", \"kick\", \"%u\"}. "
         "Without it, or where it fails, command_timeout is waited for."},
    {"migration", "late_watch", OPTION_DURATION, offsetof(struct conf_migration, late_watch_ms), .def = "1h",
     .max = 30 * DAY, .reload = RELOAD_YES,
     .text =
         "How long the old server is looked at after an account was switched over, at growing intervals; mail "
         "that still arrives there is brought over. After that it is looked at daily, until it is retired. 0s: "
         "not at all; the account is settled at once."},
    {"migration", "verify", OPTION_ENUM, offsetof(struct conf_migration, verify), .def = "full",
     .words = verify_words,
     .text =
         "What of each copy is read back from the target and compared with what the source gave, besides flags, "
         "date and order: every byte (full); the size of all and every byte of one message in ten, and of those "
         "around a doubt (sample); size and header (headers). The report says how many were compared how, and "
         "only what full reads is called verified. From another mode to full, the rest is read."},
    {"migration", "reorder_max", OPTION_NUMBER, offsetof(struct conf_migration, reorder_max), .def = "1000",
     .max = 1000000, .reload = RELOAD_YES,
     .text =
         "A message that the target refused at first and takes later would lie behind those that follow it. To keep "
         "the order, at most this many copies of a mailbox are taken back and appended again; where it would "
         "take more, the account is blocked until somebody waives \"order\"."},
    {"migration", "foreign_max", OPTION_NUMBER, offsetof(struct conf_migration, foreign_max), .def = "100",
     .max = 100000, .reload = RELOAD_YES,
     .text =
         "Messages of the target's own (delivered there before the move, or by mistake) that lie before or between the "
         "copies keep mail programs from being shown the mailbox as they know it (T2). At most this many of a "
         "mailbox are moved behind the copies, within the mailbox, before the account is switched over: copied, read "
         "back, and then the originals removed, which takes UIDPLUS. Where there are more, all stay where they are, "
         "and mail programs read the mailbox anew (T3). 0: none are moved."},
    {"migration", "delete_share", OPTION_NUMBER, offsetof(struct conf_migration, delete_share), .def = "50",
     .max = 100, .reload = RELOAD_YES,
     .text =
         "What share of a mailbox's copies, in per cent, the migrator may remove from the target in one pass because "
         "their messages are gone from the source. Where it would be more (and more than 100 messages), the "
         "account is blocked until somebody waives \"share\": the source might be broken."},
    {"migration", "t1_max_gaps", OPTION_NUMBER, offsetof(struct conf_migration, t1_max_gaps), .def = "0",
     .max = 1000000, .reload = RELOAD_YES,
     .text =
         "Each copy can get the UID of its message where the target has UIDPLUS and its mailbox is new: UIDs that have "
         "no message are taken by tiny messages, which are removed again before the account is switched over. At "
         "most so many in a mailbox, 0: none. Where UIDVALIDITY can't be told, the proxy then rewrites that alone "
         "(T1), and needs no map of UIDs (T2)."},
    {"migration", "t0_max_gaps", OPTION_NUMBER, offsetof(struct conf_migration, t0_max_gaps), .def = "100000",
     .max = 10000000, .reload = RELOAD_YES,
     .text =
         "Where the target can be told UIDVALIDITY and UIDs (see numbers): how many UIDs of one mailbox that have no "
         "message on the source may be filled on the target, by messages that are removed at once, so that the "
         "messages behind them get their UIDs. Long gaps are jumped over and do not count."},
};
const size_t n_options = COUNTOF(options);

const char *verify_word(enum verify_mode v)
{
    return verify_words[v];
}

const char *tls_version_word(enum tls_version v)
{
    return tls_words[v];
}
