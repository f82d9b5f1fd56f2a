/* view: what a client goes on seeing of one account after it was moved (DESIGN.md 8): which mailbox of the
 * backend stands behind each name that the client knows, and by which UIDVALIDITY and UIDs it knows the
 * messages. It is made of the hash imapferry:views:USER: a record a mailbox (view_record.h), and under the
 * name "" how both servers spell names. Pure.
 *
 * "Client" is the side of the server that the account came from: its names and numbers are what clients have
 * always seen (source_* in a record). "Backend" is the server on which the account is now (target_*).
 *
 * A view is counted by reference, since a session keeps the one by which it has opened its mailbox until it
 * leaves that mailbox, also when another session has changed the records meanwhile. */
#ifndef IMAPFERRY_VIEW_H
#define IMAPFERRY_VIEW_H

#include "view_record.h"
#include "view_spaces.h"

struct view; /* opaque */

/* How both servers spell names: the field "" of the hash. Strings are owned. */
struct view_spelling {
    char client_separator, backend_separator; /* 0: the server has no hierarchy */
    char *client_prefix, *backend_prefix;     /* of the personal namespace, with the separator; "" = none */
    char *avoid;                              /* further bytes that the backend takes in no name */
    struct view_spaces spaces;                /* others' mailboxes, of who is shown any */
};
void view_spelling_free(struct view_spelling *s);
/* One line of printable ASCII, "1 client=.,INBOX. backend=/, avoid=": a separator and a prefix a side, percent-
 * encoded as names in records are, "," too; behind that the spaces, if there are any (view_spaces.h). One spelling has one text. */
void view_spelling_encode(struct buf *out, const struct view_spelling *s);
/* False where the text is not what view_spelling_encode() writes, or one of the sides can't be mapped
 * (view_side_fault()). */
bool view_spelling_decode(struct span text, struct view_spelling *_r) MUST_CHECK;

/* renames: the site's; borrowed, NULL = none; they have to live as long as the view. */
struct view *view_new(const struct view_renames *renames);
struct view *view_ref(struct view *v);
void view_unref(struct view **v);
/* Takes one field of the hash. False: it can't be read, or there are too many. To be called before the view
 * is shared. */
bool view_take(struct view *v, struct span field, struct span text) MUST_CHECK;
/* Takes one field of another user's hash, whose mailboxes the account is shown: what the owner's clients go on seeing, who was
 * granted the mailbox sees too. owner: one of view_spaces_of(v); his: the owner's spelling, of the same two servers. Such a record
 * counts where the account has none of its own by that name, is never written, and what becomes of the mailbox is kept
 * as of one without a record. To be called before the view is shared. False: it can't be read, or there are too many. */
bool view_lend(struct view *v, const char *owner, const struct view_spelling *his, struct span field,
               struct span text) MUST_CHECK;
/* Nothing is to be rewritten, whatever a client does: names are spelled alike, and each mailbox has the
 * numbers that clients know, MODSEQs too; what clients ask about the time before the flip, the backend itself
 * answers rightly. */
bool view_is_plain(const struct view *v);
/* May clients be shown CONDSTORE and QRESYNC? False: of a mailbox whose messages they know it is not told how its
 * MODSEQs go on. */
bool view_has_modseqs(const struct view *v);
/* Are names spelled alike on both sides? (Numbers may differ.) */
bool view_names_alike(const struct view *v);
/* Does the spelling of both servers alone lead to each name? Then what lies below a mailbox of the client lies
 * below the same one of the backend. */
bool view_is_regular(const struct view *v);

/* ---- names ---- */

/* Appends the backend's name for a client's. A record's own name comes first, then how the servers spell
 * names, and the site's renames. False, and *out as it was: there is none, or it is that of another mailbox
 * of the client. INBOX is one name in any case. */
bool view_backend_name(const struct view *v, struct span client, struct buf *out) MUST_CHECK;
/* The other way. False: clients have no name for it, or know another mailbox by that name; then it is not
 * shown. */
bool view_client_name(const struct view *v, struct span backend, struct buf *out) MUST_CHECK;
/* '\0': none. */
char view_client_separator(const struct view *v);
char view_backend_separator(const struct view *v);
const char *view_client_prefix(const struct view *v);
/* Are the namespaces spelled alike on both sides? Then the backend's word for them is the client's. */
bool view_namespaces_alike(const struct view *v);
const struct view_spaces *view_spaces_of(const struct view *v);
/* Is it in a namespace that is not the client's own? */
bool view_is_elsewhere(const struct view *v, struct span client);
/* The record under the client's name; NULL where there is none; borrowed. */
const struct view_record *view_record_of(const struct view *v, struct span client);

/* ---- numbers ---- */

/* How one mailbox is seen. */
struct view_sight {
    uint32_t uidvalidity;       /* what the client is shown */
    const struct view_uid *map; /* NULL: UIDs are the same on both sides; borrowed from the view */
    uint32_t uidnext;           /* the backend's, as it was told; 0: it was not */
    /* What the record tells of MODSEQs (view_record.h). Without a record, and where clients start again: 0, 0,
     * true, as the backend has them. */
    uint64_t modseq_floor, modseq_shift;
    bool modseqs; /* false: shown as a mailbox that has none (NOMODSEQ) */
};
enum view_fit {
    VIEW_FITS,    /* *_r says how it is seen */
    VIEW_CHANGED, /* it is not the mailbox of the record: view_void() first, and then once more */
    VIEW_UNSEEN,  /* it can't be shown: there is no UIDVALIDITY left that is greater than all shown */
};
/* A mailbox of the backend, which clients know by this name, has this UIDVALIDITY and UIDNEXT (0: not told)
 * now. Without a record both are shown as they are. T0, T1 and T2 show the record's source_uidvalidity, T3
 * its highest_uidvalidity; where the real UIDVALIDITY is not that of the record, UIDNEXT is below that of the
 * flip (servers give one UIDVALIDITY to several mailboxes, and some give it out again), or a shifted UID would
 * not fit into 32 bits, the record is void. A mailbox without UIDVALIDITY (0) never fits a record. In place of
 * UIDNEXT, the UID of a message that was added just now does as well. */
enum view_fit view_look(const struct view *v, struct span client, uint32_t uidvalidity, uint32_t uidnext,
                        struct view_sight *_r);

/* ---- changes ---- */

/* What is to be written into the hash, all of it or nothing: where each field still is what it was. */
struct view_change {
    char *field;    /* client's name; owned */
    char *was, *is; /* texts of records; NULL: there is, or shall be, none; owned */
};
struct view_changes {
    struct view_change *items; /* owned */
    size_t n, cap;
};
void view_changes_free(struct view_changes *c);

/* The record of a mailbox that is another one now: its UIDs are shown as they are, under a UIDVALIDITY that
 * is greater than any shown under this name: the real one where that is so, else the highest and one.
 * False: VIEW_UNSEEN. */
bool view_void(const struct view *v, struct span client, uint32_t uidvalidity,
               struct view_changes *out) MUST_CHECK;
/* What the grave of a mailbox without a record gets (one that a client has made behind the flip): the highest UIDVALIDITY
 * that clients can have been shown of it, and an id of its own. highest: 0 = no grave is made. */
struct view_unknown {
    uint32_t highest;
    char id[VIEW_ID_MAX + 1];
};
/* A RENAME takes three changes, so that a crash between any two of them leads to no wrong number. Before it
 * is sent, each record of `from` and of what lies below it gets a twin of the same id under the new name;
 * both are bound to the real UIDVALIDITY, so only the one that is there fits. After the OK the old name keeps
 * only the highest UIDVALIDITY shown; after a NO the twins go, where they had replaced nothing, or what was
 * there comes back. Nothing where `from` is INBOX (RFC 3501 6.3.5: its messages become those of a new
 * mailbox), or `to`, which can't be. Where one of the two lies below the other, clients learn all of the
 * mailboxes concerned anew. Where `from` has no record, its name gets a grave before the RENAME is sent, which goes
 * after a NO; what lies below it without a record is not known, and gets none. */
void view_rename_begin(const struct view *v, struct span from, struct span to,
                       const struct view_unknown *unknown, struct view_changes *out);
/* Names that were given up keep a record each, for ever. False: by this RENAME there would be too many for the
 * store, and for whoever reads them at each login. */
bool view_rename_fits(const struct view *v, const struct view_changes *begun) MUST_CHECK;
/* v: the view with the changes of view_rename_begin() applied; begun: those. What is changed already is not changed
 * again. */
void view_rename_end(const struct view *v, const struct view_changes *begun, bool ok,
                     struct view_changes *out);
/* A DELETE takes two. Before it is sent, the record becomes one that keeps only the highest UIDVALIDITY shown, so that
 * a crash leads to a mailbox that clients learn anew, and not to a map of what is gone: a server may give a mailbox
 * that is made anew the same UIDVALIDITY. A mailbox without a record gets such a grave too. Nothing for INBOX. What lies
 * below the mailbox stays (RFC 3501 6.3.4). */
void view_delete_begin(const struct view *v, struct span name, const struct view_unknown *unknown,
                       struct view_changes *out);
/* VIEW_DELETED: what another session has recorded meanwhile, which may have seen the mailbox as it went, is given up too;
 * first: the store is asked for such a record, by a change that changes nothing. VIEW_NOT_THERE: the same, but that the
 * grave of a mailbox without a record goes, since clients may name anything. VIEW_NOT_DELETED: what there was comes back,
 * where nobody has changed it meanwhile. Like view_rename_end() it may be asked again by a newer view, until nothing is
 * left to change. */
enum view_deleted { VIEW_DELETED, VIEW_NOT_THERE, VIEW_NOT_DELETED };
void view_delete_end(const struct view *v, const struct view_changes *begun, enum view_deleted is, bool first,
                     struct view_changes *out);
/* A new view with these changes made; *v stays as it is. NULL: a text can't be read. */
struct view *view_apply(const struct view *v, const struct view_changes *changes) MUST_CHECK;

#endif
