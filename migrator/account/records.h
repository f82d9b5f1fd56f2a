/* records: the view records of one account (lib/view_record.h) and, beside each, its ledger while a job runs.
 * A mailbox gets its record, with a random id, before its first message is copied; its ledger is kept in
 * Redis under that id. At the flip the ledger becomes part of the record, as a map of UIDs. Until clients are
 * shown the source's numbers every record says T3. */
#ifndef IMAPFERRY_RECORDS_H
#define IMAPFERRY_RECORDS_H

#include <uthash.h>

#include "lib/view_record.h"
#include "lib/view_spaces.h"

#include "mailboxes.h"
#include "migrator/mailbox/copy.h"
#include "migrator/mailbox/stamp.h"

/* How the last pass saw the mailbox at the source in the freeze, and found it as its stamp says: not at all,
 * by a glance (glance.h), or by listing it. */
enum record_seen { SEEN_NOT, SEEN_GLANCED, SEEN_LISTED };

/* What becomes of a mailbox's numbers (tier.h, tiers.h). Of this job. */
struct record_numbers {
    enum view_tier tier; /* that the last copy has reached, where known */
    bool known;
    char why[200];  /* why it is not a better one, or will not be: for people; "" */
    char lost[200]; /* why they were lost */
    bool given_up;  /* lost, and the mailbox has another UIDVALIDITY now: it is copied without them */
    struct numbering numbering; /* what copies are given */
    uint32_t first_foreign;     /* of the last copy, see tier.h */
    /* of tiers.c */
    struct channel *channel; /* borrowed */
    bool *jumps;             /* set where UIDs are jumped over; borrowed */
    char *mailbox;           /* owned */
    uint32_t uidvalidity;    /* of the target */
    bool patient;            /* a channel that is away ends the copy, and not the numbers */
    struct numbering_jump *jump;
    uint32_t was[2]; /* UIDVALIDITYs of source and target that are to be exceeded */
};

struct record {
    struct view_record view; /* source_name is the name that clients see */
    bool changed;            /* Redis has another version of it */
    struct record_shown {
        enum view_tier tier;
        uint32_t source, target, highest; /* UIDVALIDITYs */
    } stored;           /* of the version in Redis, as far as is known; highest of 0: none */
    struct stamp stamp; /* beside the record in Redis */
    bool stamp_changed; /* Redis has another version of it */
    /* the stamp was equal but for these: the source lacks them, their copies are there */
    struct imap_seq gone;
    bool vanished; /* the last pass could not open it at the source */
    bool absent;   /* ... or did not find it listed */
    /* the next of the same id, in a ring: a RENAME is under way (renames.h), or a client has renamed it, perhaps more
     * than once (lib/view.h); NULL = none */
    struct record *twin;
    /* the mailbox that it may have become is another one, or the target refused the RENAME */
    bool not_renamed;
    bool whole; /* this job has compared all of it: UIDs, flags and dates of every message */
    enum record_seen seen_frozen; /* of the last pass */
    uint64_t marks;               /* ... as well; see copy_result.source_marks */
    struct ledger *ledger;        /* owned; NULL = not loaded */
    struct copy_counts counts;    /* of the last copy, for the progress of the next */
    struct findings *findings;    /* of the last copy; owned */
    uint32_t uidvalidity;         /* of the side that is left, as the last copy saw it; 0 = none did */
    bool looked;                  /* a copy was made in this job, and came to its end */
    bool counted;
    struct record_numbers numbers;
    UT_hash_handle hh;
};

struct records;
typedef void (*records_fn)(void *owner, enum route_rc rc);

/* job must live as long; its epoch may change. back: the account returns to the server from which the names
 * and numbers come that its clients see. A record keeps its sides even then (its source is what clients see),
 * and is found with the two names exchanged. Stamps that were made under other terms (stamp_terms()) are
 * forgotten. */
struct records *records_new(struct store *s, const struct route_job *job, bool back, uint64_t terms);
uint64_t records_terms(const struct records *r);
void records_free(struct records **r);
/* Reads all of them, and their stamps. A record that can't be read is as good as none: it is made anew. */
void records_read(struct records *r, records_fn fn, void *owner);
/* Reads what proxies have changed since then, while the job was under way (lib/route/view_change.lua): mailboxes that
 * clients have deleted, or that are others now. These get T3, and a UIDVALIDITY that clients have not seen. To be called
 * in the freeze, when nobody changes any more. */
void records_merge(struct records *r, records_fn fn, void *owner);
/* The record of a mailbox, made where there is none for this pair of names. Borrowed until records_free(). */
struct record *records_get(struct records *r, const char *from_name, const char *to_name);
/* Calls fn for each record of a mailbox that is none of these, with its names in the direction of this move.
 * fn may not add or drop records. */
typedef void (*records_gone_fn)(void *owner, struct record *record, const char *from_name,
                                const char *to_name);
void records_each_gone(struct records *r, const struct mailboxes *source, records_gone_fn fn, void *owner);
/* Forgets a record, its stamp and its ledger; the next records_write() tells Redis. A name that clients have seen keeps
 * a row of its own, without a mailbox, with the highest UIDVALIDITY shown; a record made anew under it begins with that,
 * and is the only one of the two. */
void records_drop(struct records *r, struct record *record);
/* Is there one under this name of the source? */
bool records_has(const struct records *r, const char *from_name);
/* Its name on the target. */
const char *records_to_name(const struct records *r, const struct record *record);
/* ... and on the source of this move. */
const char *records_from_name(const struct records *r, const struct record *record);
/* One of several of the same id; NULL where there are none. */
struct record *records_next_twin(const struct records *r);
/* A second record of the same id, under other names. */
void records_twin(struct records *r, struct record *record, const char *from_name, const char *to_name);
/* Forgets the others of its id. Ledger and stamp are this one's then, which is compared wholly next. */
void records_keep_twin(struct records *r, struct record *record);
/* Nothing that was listed wholly before counts any more: another attempt begins. NULL: none was read (by force). */
void records_begin_attempt(struct records *r);
/* Is of any mailbox known how much there is in it? */
bool records_counted(const struct records *r);
/* By the name on the server that is left; NULL where there is none. */
struct record *records_find(const struct records *r, const char *from_name);
/* The others follow by hh.next; NULL: none. */
struct record *records_first(const struct records *r);
/* An account is flipped without a look at what there is: the record fits no mailbox of the server that it goes to, so
 * that clients see each by a UIDVALIDITY greater than any that they may have seen. */
void record_void(struct record *record, bool back);
/* Writes those that changed, in as many scripts as it takes. Calls back once, not before it returned, also
 * when there is nothing to write. */
void records_write(struct records *r, records_fn fn, void *owner);
/* Sends the stamps that changed, and takes those away that belong to no record. Nobody waits for it: a stamp
 * that did not arrive only costs a look at its mailbox. */
void records_write_stamps(struct records *r);
void records_forget(struct records *r, void *owner);

/* Which tier its mailbox has reached, by its ledger and what the last copy told; why not a better one. */
enum view_tier record_tier(const struct record *record, const struct copy_result *last, char *why,
                           size_t why_size);
/* Under which terms an account moves. */
struct record_terms {
    bool back;      /* see records_new() */
    bool condstore; /* both servers have CONDSTORE */
    bool viewed;    /* clients have seen the account by these records until now */
};
/* Folds the ledger into the record, with what the last copy told of both mailboxes. */
void record_fold(struct record *record, const struct copy_result *last, const struct record_terms *terms);
/* Why a client would take wrong messages for known ones, if it were shown what both servers have: equal UIDVALIDITYs
 * with UIDs that differ. NULL: all right. To free. record_fold() makes T3 of it then. */
char *record_uid_clash(const struct record *record, const struct copy_result *last, bool back);

/* How both servers spell names, and call the mailboxes of others, for records_write(). Copied. */
void records_spell(struct records *r, const struct view_names *names, const struct view_spaces *spaces);
/* Are they in the store, or will be? */
bool records_are_spelled(const struct records *r);
/* What becomes the route's view: "1:" and 32 hex digits of SHA-256 over all rows. "1=:" where proxies have
 * nothing to rewrite, "1=:m" where they may show CONDSTORE and QRESYNC as well; "1=+:" where the account by itself has nothing to
 * be rewritten, but is shown mailboxes of others, whose records have to be read (view_lend()); "1<:" where the account is back on
 * the server from which its clients' names and numbers come. */
void records_digest(const struct records *r, char out[40]);

#endif
