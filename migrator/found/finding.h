/* finding: a named result: what of an account did not arrive as it was, and why. Plan, arrange and the copy
 * of each mailbox add findings to lists; the pass joins these lists; the job decides by the result. Pure.
 *
 * One table (finding_kind.c) says of each kind: its word, whether it blocks the flip or is only counted,
 * whether a later try may mend it, and its text for people. What blocks does so until it mends itself or a
 * person waives it (waiver.h).
 *
 * A list names the first FINDINGS_NAMED findings that are open, and as many that are waived; further ones are
 * counted by kind, and block all the same. */
#ifndef IMAPFERRY_FINDING_H
#define IMAPFERRY_FINDING_H

#include "lib/buf.h"
#include "lib/reasons.h"

enum finding_kind {
    /* messages that can't go */
    FINDING_TOO_LARGE,
    FINDING_REFUSED,
    FINDING_EMPTY,
    FINDING_BAD_DATE,
    FINDING_UNREADABLE,
    FINDING_MUTABLE,
    FINDING_LEFT_BY_WAIVER,
    FINDING_LEFT_OUT,
    FINDING_NOT_COPIED,
    /* messages that went and are not the same there */
    FINDING_MISSING,
    FINDING_BYTES,
    FINDING_UNREAD,
    FINDING_DATE,
    FINDING_FLAGS,
    FINDING_FLAGS_LOST,
    FINDING_ZONE,
    /* a mailbox */
    FINDING_ORDER,
    FINDING_BETWEEN,
    FINDING_LEFTOVER,
    FINDING_UNREMOVABLE,
    FINDING_SHARE,
    FINDING_LISTING,
    FINDING_NOT_UNDERSTOOD,
    FINDING_DISAGREES,
    FINDING_NAME,
    FINDING_COLLISION,
    FINDING_VIRTUAL,
    FINDING_ALL_MAIL,
    FINDING_EXTRA_MAILBOX,
    FINDING_SPECIAL_USE,
    FINDING_SUBSCRIPTION,
    FINDING_NO_SUBSCRIPTIONS,
    FINDING_ACL,
    FINDING_ACL_MORE,
    FINDING_METADATA,
    FINDING_NO_METADATA,
    FINDING_UNTOLD,
    /* the account */
    FINDING_SHARED,
    FINDING_SAME_ACCOUNT,
    FINDING_QUOTA,
    FINDING_QUOTA_LIMIT,
    FINDING_KINDS
};

enum finding_class { FINDING_BLOCKS, FINDING_COUNTED };

enum { FINDINGS_NAMED = 200, FINDING_DETAIL_MAX = 300 /* bytes */ };

const char *finding_word(enum finding_kind k);
const char *finding_text(enum finding_kind k); /* for people: what all of its kind are */
enum finding_class finding_class(enum finding_kind k);
/* May a person waive all of this kind by its word? Not a kind that ends a copy early, or that could hide that
 * something was not looked at. */
bool finding_is_waivable(enum finding_kind k);
/* ... or all of this kind in one mailbox? That a mailbox can't be opened may be waived by its name. */
bool finding_is_waivable_in_one(enum finding_kind k);
/* May a later try mend it? */
bool finding_is_mendable(enum finding_kind k);
/* The reason of an account that needs a person for findings of this kind alone; 0: it has none of its own. */
enum why finding_why(enum finding_kind k);
bool finding_parse(struct span word, enum finding_kind *_k) MUST_CHECK;

struct finding {
    enum finding_kind kind;
    bool waived;
    uint32_t uid;  /* of the source; 0 = none */
    char *mailbox; /* the source's name as on the wire; "" = the account; owned by the list */
    char *detail;  /* on one line; owned by the list */
};

struct waivers;
struct findings;

/* waivers: borrowed; NULL = none. */
struct findings *findings_new(const struct waivers *waivers);
void findings_free(struct findings **f); /* NULL is fine */
/* For a list of one mailbox: the UIDVALIDITY to which the UIDs belong that are named from now on. A waiver of
 * a message counts only if it is for the same UIDVALIDITY. 0, and after each of the two functions below: it
 * is not known. */
void findings_of_uidvalidity(struct findings *f, uint32_t uidvalidity);
/* Keeps what there is, and goes by these waivers from now on. */
void findings_use(struct findings *f, const struct waivers *waivers);
/* Forgets all, and goes by these waivers from now on. */
void findings_clear(struct findings *f, const struct waivers *waivers);
void findings_add(struct findings *f, enum finding_kind kind, const char *mailbox, uint32_t uid,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Counts n more, without naming them. */
void findings_count(struct findings *f, enum finding_kind kind, uint64_t n);
/* Adds all of another list; what is waived there is waived here. */
void findings_join(struct findings *f, const struct findings *other);

/* Named ones, in the order in which they came. */
const struct finding *findings_named(const struct findings *f, size_t *n);
uint64_t findings_of(const struct findings *f, enum finding_kind kind); /* open and waived */
uint64_t findings_waived(const struct findings *f, enum finding_kind kind);
uint64_t findings_total(const struct findings *f);
/* How many stop the flip: of a kind that blocks, and not waived. */
uint64_t findings_open(const struct findings *f);
/* For a list with open findings: WHY_DIFFERS where a later try may mend all of them; the kind's own reason
 * (finding_why()) where findings of that one kind are all that need a person; else WHY_CANNOT. */
enum why findings_why(const struct findings *f);
/* The first open ones, with their mailboxes, and how many more there are: a route's reason. */
void findings_describe(struct buf *out, const struct findings *f);

/* A mailbox name for people: UTF-8 where it is valid modified UTF-7, on one line, in quotes. Appends. */
void finding_show_mailbox(struct buf *out, const char *name);

#endif
