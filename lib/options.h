/* options: the one table of every section and option: name, type, place, default, bounds, unit, text. From
 * the table come the checks of the parser, --print-conf, --print-conf=sample (the file conf/imapferry.conf)
 * and the values of the structs here. An option enters the table together with the code that obeys it. */
#ifndef IMAPFERRY_OPTIONS_H
#define IMAPFERRY_OPTIONS_H

#include "address.h"
#include "log.h"

/* One alias of struct conf_migration as account_key() uses it: both sides are account keys. */
struct conf_alias {
    char *from, *to; /* owned */
    size_t nth;      /* which of the option's values it is */
};

enum sign_in { SIGN_IN_PASSTHROUGH, SIGN_IN_MASTER, SIGN_IN_PROXYAUTH };
enum trigger { TRIGGER_LOGIN, TRIGGER_MANUAL };
enum rule_trigger {
    RULE_TRIGGER_DEFAULT /* of the section migration */,
    RULE_TRIGGER_LOGIN,
    RULE_TRIGGER_MANUAL
};
enum cutover { CUTOVER_IMMEDIATE, CUTOVER_IDLE, CUTOVER_WINDOW, CUTOVER_MANUAL };
enum forward_id { FORWARD_ID_NONE, FORWARD_ID_CLIENT, FORWARD_ID_NEUTRAL };
enum tls_version { TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 };
enum proxy_protocol { PROXY_PROTOCOL_NONE, PROXY_PROTOCOL_V1, PROXY_PROTOCOL_V2 };
enum delivery_account { DELIVERY_ADDRESS, DELIVERY_LOCAL_PART };
enum frozen_answer { FROZEN_SOURCE, FROZEN_TEMP };
enum tell_numbers { TELL_AUTO, TELL_DOVEADM, TELL_CYRUS, TELL_NOT };
enum verify_mode { VERIFY_FULL, VERIFY_SAMPLE, VERIFY_HEADERS };
const char *verify_word(enum verify_mode v);
const char *tls_version_word(enum tls_version v);

struct migration_rules; /* migration_rules.h */
struct account_names;   /* account_names.h */

struct conf_list {
    char **items; /* owned */
    size_t n;
};

enum { SITE_STORES_MAX = 64 };

/* By what it is told which of several stores has an account, see stores_place(). */
enum store_spread { SPREAD_ACCOUNT, SPREAD_DOMAIN };

struct conf_redis {
    struct conf_list
        urls; /* option "url": one a store, or one of a Redis Cluster, which has as many as its url says */
    struct address *addresses; /* one a store, made of them and of the files that hold passwords; owned */
    size_t n_stores;
    enum store_spread spread;
    char *password_file, *sentinel_password_file; /* "" = passwords are in url, or there are none */
    char *ca_file;
    struct conf_list pin;     /* conf_pin() */
    char *tls_name;           /* "" = the host */
    char *tls_cert, *tls_key; /* "" = none is shown */
    char *prefix;
    bool store_override; /* migrate even on a store that may forget */
};

struct conf_backend {
    char *name;             /* first: the title of the section */
    struct conf_list urls;  /* option "address": one or more that lead to the same mail */
    struct address address; /* from the first one; all have its scheme */
    struct address *others; /* from those behind it; owned; backend_address() */
    size_t n_others;
    bool spread;         /* users begin at different ones */
    char *pop3_url;      /* "" = it is not known to speak POP3 */
    struct address pop3; /* ... made of it; no host: the same */
    char *ca_file;
    struct conf_list pin; /* conf_pin() */
    enum tls_version tls_min;
    enum sign_in sign_in;
    char *master_user;
    char *master_password_file;
    /* read from the file by conf_load() where the program needs it; wiped by conf_free() */
    char *master_password;
    char *master_login; /* "%u*%m" or "" for SASL authzid */
    char *check_user;   /* an existing user, for whom the master signs in to look; "" = for itself */
    char *auth_backend; /* name of a backend, "" = itself */
    enum forward_id forward_id;
    enum proxy_protocol proxy_protocol; /* the header that connections begin with */
    struct conf_list capabilities;      /* "-NAME" to hide, "NAME" to add or replace */
    bool retired;                       /* nothing is looked for there any more */
    uint32_t max_connections;           /* of the migrator, to this backend, all jobs together */
    uint32_t max_messages_per_second, max_bytes_per_second; /* of the migrator; 0 = no limit */
    bool compress;                                          /* the migrator's connections */
    char *doveadm_url;                                      /* "" = there is none */
    char *doveadm_key_file;                                 /* "" = there is none */
    /* read from the file by conf_load() where the program needs it; wiped by conf_free() */
    char *doveadm_key;
    enum tell_numbers numbers;  /* how it is told the numbers of its mailboxes */
    char *delivery;             /* how a mail server delivers there, "" = not told */
    struct conf_list provision; /* a program or a URL: makes accounts there; none: they are there */
    bool provision_password;    /* it is given the user's password */
    uint64_t provision_timeout_ms;
};

static inline bool backend_has_pop3(const struct conf_backend *b)
{
    return b->pop3.host != NULL;
}

/* Is a policy of TLS needed for any of its addresses? */
static inline bool backend_has_tls(const struct conf_backend *b)
{
    return address_has_tls(&b->address) || (backend_has_pop3(b) && address_has_tls(&b->pop3));
}

/* The nth address of a backend; NULL: there are no more. */
static inline const struct address *backend_address(const struct conf_backend *b, size_t nth)
{
    return nth == 0 ? &b->address : nth <= b->n_others ? &b->others[nth - 1] : NULL;
}

/* Which name in a client's certificate is its login name. */
enum client_name { CLIENT_NAME_EMAIL, CLIENT_NAME_COMMON };

struct conf_proxy {
    struct conf_list listen;
    struct conf_list trusted; /* networks (cidr.h) that say who their clients are */
    char *tls_cert, *tls_key;
    struct conf_list tls_certs; /* more of them: conf_certificate() */
    struct conf_list tls_ticket_files;
    char *tls_client_ca; /* "" = clients are not asked for certificates */
    bool tls_client_required;
    enum client_name tls_client_name;
    struct conf_list tls_client_listen; /* of listen; none: all with TLS */
    enum tls_version tls_min;
    uint32_t threads;   /* 0 = one per core */
    char *id;           /* "" = host name */
    char *user, *group; /* whom to become; "" = stay */
    bool sandbox;
    char *upgrade_socket; /* "" = none */
    char *metrics_listen; /* "" = none */
    enum log_format log_format;
    struct conf_list mechanisms; /* sasl.h; conf_offers() */
    struct conf_list masters;    /* login names; conf_is_master() */
    bool allow_plaintext, compress;
    uint64_t lease_ms, lease_long_ms;
    uint64_t hold_max_ms, drain_time_ms;
    uint32_t login_tries;
    uint32_t max_connections_per_account, max_connections_per_network;  /* signed in; 0 = any number */
    uint64_t login_delay_ms, login_delay_max_ms, login_delay_memory_ms; /* penalty.h; the first 0: none */
    uint64_t tls_timeout_ms, login_timeout_ms, store_timeout_ms, connect_timeout_ms, backend_timeout_ms,
        idle_timeout_ms, close_timeout_ms;
};

/* Which addresses are accounts. */
struct conf_delivery {
    struct conf_list domains; /* patterns; none: default_domain */
    enum delivery_account account;
    char *recipient_delimiter; /* any of these bytes; "" = there are no extensions */
};

/* Mail servers ask it where mail goes. */
struct conf_socketmap {
    struct conf_list listen;  /* none: nowhere */
    struct conf_list trusted; /* networks (cidr.h), besides this host */
    enum frozen_answer frozen_answer;
};

/* Mail servers deliver to it (proxy/delivery/lmtp.h). */
struct conf_lmtp {
    struct conf_list listen;  /* none: nowhere */
    struct conf_list trusted; /* networks (cidr.h), besides this host */
    uint32_t max_connections; /* of a thread */
    uint32_t max_recipients;  /* of a message */
    uint64_t hold_max_ms;
    uint64_t command_timeout_ms, data_timeout_ms, connect_timeout_ms, reply_timeout_ms, final_timeout_ms;
};

struct conf_migration {
    char *source, *target; /* names of backends */
    char *default_domain;
    struct conf_list aliases;       /* "alias=account" */
    struct conf_alias *alias_table; /* aliases as keys, sorted by from; made by account_load_aliases() */
    size_t n_alias_table;
    struct conf_list rename, exclude, leave_out, acl_map;
    struct migration_rules *rules; /* these four, parsed; made by migration_rules_load() */
    enum trigger trigger;
    enum cutover cutover;
    uint64_t freeze_budget_ms;
    struct conf_list hook_freeze, hook_flip, hook_settle, hook_kick;
    uint64_t idle_time_ms;
    struct conf_list window;
    uint64_t freeze_jitter_ms;
    uint32_t max_flips_per_minute, stop_failure_share;
    uint64_t late_watch_ms; /* 0 = none */
    enum verify_mode verify;
    uint32_t reorder_max;  /* messages */
    uint32_t foreign_max;  /* messages of a mailbox; 0 = none */
    uint32_t group_max;    /* accounts that share, see migrator/admin/sharing.h */
    uint32_t delete_share; /* per cent */
    uint32_t t1_max_gaps;  /* UIDs of a mailbox; 0 = none */
    uint32_t t0_max_gaps;  /* ... on a target that can be told its numbers */
};

/* A pair of backends for the accounts whose key a pattern matches. */
struct conf_rule {
    char *pattern;         /* first: the title of the section; small letters */
    char *source, *target; /* names of backends */
    enum rule_trigger trigger;
};

/* Accounts that are moved by their logins once it is their turn (waves.h). */
struct conf_wave {
    char *name; /* first: the title of the section */
    struct conf_list
        accounts;   /* patterns, and the name of a file that lists accounts, which begins with "/" */
    uint32_t share; /* per cent */
    char *after;
    uint32_t per_day; /* accounts; 0 = any number */
    /* made of the file and of after by conf_load() */
    struct account_names *listed; /* a reference; NULL: there is no file */
    uint64_t after_ms;            /* since 1970; 0 = at once */
};

struct conf_migrator {
    uint32_t jobs, late_looks;
    char *id;           /* "" = host name */
    char *user, *group; /* whom to become; "" = stay */
    bool sandbox;
    char *journal_dir;
    bool proofs;
    char *metrics_listen; /* "" = none */
    enum log_format log_format;
    uint64_t retry_min_ms, retry_max_ms; /* growing delay between attempts */
    uint64_t audit_keep_ms;              /* 0 = for ever */
    uint64_t job_lease_ms;               /* a job that nobody keeps alive for so long is taken over */
    /* how long a backend may send nothing while it owes an answer, before it is given up */
    uint64_t command_timeout_ms;
};

/* The API and the page of a migrator. */
struct conf_admin {
    char *listen; /* "" = none */
    char *token_file;
    char *tls_cert, *tls_key; /* where listen is https:// */
    struct conf_list names;   /* host names by which it is asked for */
};

struct conf_seal {
    char *public_key_file; /* "" = do not seal */
    struct conf_list private_key_files;
};

struct conf {
    char *file; /* where it came from */
    struct conf_redis redis;
    struct conf_backend *backends; /* owned */
    size_t n_backends;
    struct conf_proxy proxy;
    struct conf_delivery delivery;
    struct conf_socketmap socketmap;
    struct conf_lmtp lmtp;
    struct conf_rule *rules; /* owned; in the order of the file */
    size_t n_rules;
    struct conf_wave *waves; /* owned; in the order of the file */
    size_t n_waves;
    struct conf_migration migration;
    struct conf_migrator migrator;
    struct conf_seal seal;
    struct conf_admin admin;
};

enum option_type { OPTION_STRING, OPTION_LIST, OPTION_BOOL, OPTION_NUMBER, OPTION_DURATION, OPTION_ENUM };

/* Sections, in the order in which they are printed. */
struct section {
    const char *name;
    /* where it is in struct conf: its struct or, of a titled section, the pointer to its array; count is
     * where the number of items is, size the size of one item */
    size_t offset;
    /* for a section that has a title and may be given many times: its titles in the sample, NULL-terminated;
     * else NULL */
    const char *const *titles;
    const char *text; /* what it is for, for people */
    size_t count, size;
    bool optional; /* the sample shows it commented out */
    /* Titled: a reload takes all of them as the file has them, those too that are new, gone or in another
     * order. Nobody keeps a pointer to one for longer than a callback. */
    bool exchanged;
};

extern const struct section sections[];
extern const size_t n_sections;

/* What SIGHUP does with an option whose value in the file is another one than before. */
enum reload {
    RELOAD_NO,  /* nothing: the option needs a restart, and the log says so */
    RELOAD_YES, /* the new value is taken */
    /* The new value is taken, and the file or files that it names are read anew; but a value that was empty
     * stays empty, and one that was not empty can't become empty. */
    RELOAD_FILE,
    /* A list of addresses: the new value is taken where it has the scheme of the old one. */
    RELOAD_ADDRESSES,
};

struct option {
    const char *section, *name;
    enum option_type type;
    size_t offset;            /* in the section's struct */
    const char *def;          /* as written in a file; "" of a list = empty; NULL = it must be given */
    uint64_t min, max;        /* numbers, and milliseconds of durations */
    const char *const *words; /* OPTION_ENUM: NULL-terminated, in the order of the enum */
    enum reload reload;
    const char *text; /* what it does, for people */
    /* what the sample shows, where it is not the default; "%s" is the title of the section */
    const char *example;
};

extern const struct option options[];
extern const size_t n_options;

#endif
