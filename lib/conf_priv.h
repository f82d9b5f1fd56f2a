/* What the conf_*.c files share with each other and with nobody else. */
#ifndef IMAPFERRY_CONF_PRIV_H
#define IMAPFERRY_CONF_PRIV_H

#include "conf.h"
#include "conf_scan.h"

/* A file that is being loaded. */
struct conf_source {
    const char *file;
    struct scan scan;
    char **error;     /* of conf_load() */
    struct buf *told; /* the options that have an error already; owned by conf_load() */
};

/* Which option of which section a message is about. */
struct conf_place {
    const char *section, *title; /* title NULL: none */
    const char *option;          /* NULL: the section as a whole */
    size_t nth;                  /* which value of a list */
};

/* Adds the error `FILE:LINE: section "title": option: text`, with the line that is nearest to what is meant;
 * only the first error of each place is kept. Always returns false. */
bool conf_fail(const struct conf_source *src, struct conf_place at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Checks the rules that the types of options do not express; parses addresses, reads secrets and checks
 * files, as far as the role needs them. */
bool conf_check(struct conf *c, const struct conf_source *src, enum conf_role role) MUST_CHECK;

/* Checks the sections wave, and reads their files. */
bool conf_check_waves(struct conf *c, const struct conf_source *src) MUST_CHECK;
/* Checks a pattern of accounts at this place, and makes its letters small, as those of keys are. */
bool conf_check_pattern(const struct conf_source *src, struct conf_place at, char *pattern) MUST_CHECK;
/* Checks the networks that an option lists. */
bool conf_check_networks(const struct conf_source *src, struct conf_place at,
                         const struct conf_list *networks) MUST_CHECK;
/* Is it 1 to 64 letters, digits and "._-"? */
bool conf_check_is_name(const char *s);

/* Frees what was made of the option address. */
void conf_free_addresses(struct conf_backend *b);
/* Checks the option address, and makes b->address and b->others of it. */
bool conf_check_addresses(struct conf_backend *b, const struct conf_source *src) MUST_CHECK;
/* Makes them once more, of what was checked; what is there is overwritten. */
void conf_make_addresses(struct conf_backend *b);
/* Takes text for an address of one of the schemes (NULL-terminated); forms tells a person which. */
bool conf_take_address(const struct conf_source *src, struct conf_place at, const char *text,
                       const char *const *prefixes, const char *what, const char *forms,
                       struct address *_r) MUST_CHECK;
/* Takes text for an address of IMAP. what it is, such as "a backend address". */
bool conf_take_imap_address(const struct conf_source *src, struct conf_place at, const char *text,
                            const char *what, struct address *_r) MUST_CHECK;
/* Takes text for one to listen on. */
bool conf_take_listen_address(const struct conf_source *src, struct conf_place at, const char *text,
                              struct address *_r) MUST_CHECK;
/* Do two addresses, as they are spelled, lead to one server? */
bool conf_same_server(const struct address *x, const struct address *y);

/* Checks where the API is served, and by what. */
bool conf_check_admin(const struct conf *c, const struct conf_source *src, enum conf_role role) MUST_CHECK;
/* Checks by what users may sign in at a proxy. */
bool conf_check_sasl(const struct conf *c, const struct conf_source *src) MUST_CHECK;

/* Checks by which addresses mail servers know accounts, and what is told of them where. */
bool conf_check_delivery(struct conf *c, const struct conf_source *src) MUST_CHECK;

/* Checks where mail servers deliver. */
bool conf_check_lmtp(const struct conf *c, const struct conf_source *src) MUST_CHECK;

/* Checks a hook: it has to be a program that is there, or a URL and a file of CAs. */
bool conf_check_hook(const struct conf_source *src, struct conf_place at,
                     const struct conf_list *hook) MUST_CHECK;
/* Checks how accounts are made on a server. */
bool conf_check_provision(const struct conf *c, const struct conf_backend *b,
                          const struct conf_source *src) MUST_CHECK;
/* Is it this machine by a name that nobody else can give? */
bool conf_is_loopback(const char *host);

/* Why a URL of http or https can't be used; NULL: it can. A fixed text. */
const char *conf_url_fault(const char *url);

/* What two addresses to listen on have in common. LISTEN_OVERLAP: one is a wildcard that takes the other's
 * address too, and they have different schemes, or one of them alone expects a PROXY header; where they are alike,
 * that harms nobody. Port 0 is
 * another port each time. */
enum conf_listen { LISTEN_APART, LISTEN_SAME, LISTEN_OVERLAP };
enum conf_listen conf_listen_meets(const struct address *a, const struct address *b, bool resolve) MUST_CHECK;

/* The section of this name; NULL where there is none. */
const struct section *conf_section(const char *name);
/* Of a titled section: how many of it there are, and the i-th of these, a struct that begins with its
 * title. */
size_t conf_titled_count(const struct conf *c, const struct section *s);
void *conf_titled(const struct conf *c, const struct section *s, size_t i);

/* Appends what the text of an option does not tell: its bounds, its default where there is something else to see
 * (or always), that it must be given, and whether SIGHUP takes it; each behind a blank. */
void conf_write_bounds(struct buf *out, const struct option *o, bool always);
/* Appends a duration as "300ms", "10s", "7d": in the largest unit that divides it. */
void conf_write_duration(struct buf *out, uint64_t ms);

#endif
