/* view_rewrite: commands from the client's names and UIDs to the backend's, and responses back, for one
 * session whose view is not plain (view.h). Everything that carries a mailbox's name, a UID, UIDVALIDITY,
 * UIDNEXT or MODSEQ is rewritten from one table (view_rewrite_table.c: a row a verb, a row a response). Pure,
 * streaming: what passes is neither copied nor kept; a literal's body never comes here but where it is a name.
 *
 * Message numbers are the same on both sides (view_uid.h), so nothing that has only those is touched.
 *
 * The owner (proxy/relay) cuts lines and literals (imap_line.h), holds commands to the allow-list
 * (imap_cmd.h), and then asks here:
 *
 *   view_rewrite_takes()    how the command has to be given
 *     VIEW_AS_IS              it passes
 *     VIEW_BY_PART            each line part by itself: view_rewrite_part(). Its literals pass
 *     VIEW_JOINED             all of it is collected and becomes one line, its literals by
 *                             view_rewrite_join(); then view_rewrite_part() as if it had come so
 *     VIEW_NAME               its first argument, a name, which may be a literal, is collected; then
 *                             view_rewrite_name(). All behind that passes (APPEND, SETMETADATA)
 *     VIEW_WHOLE              all of it is collected (its literals are small): view_rewrite_whole()
 *   view_rewrite_waits()    before any of that: must it wait until those under way were answered? So it is
 *                           where the answers could not be told apart (SEARCH behind UID SEARCH), and behind
 *                           what changes which mailbox is open, or which names there are
 *
 * A name that no mailbox of the backend can have is answered with NO. A SELECT or EXAMINE of it becomes one of ""
 * (view_rewrite_nowhere()): so the mailbox that was open is closed on both sides (RFC 3501 6.3.1), and a
 * backend that has QRESYNC says so ([CLOSED]). Whatever it answers, the client gets NO and has none open.
 *
 * Responses are given part by part to view_rewrite_response(); a tagged one to view_rewrite_tagged() with
 * what the command became. A response that can't be understood is VIEW_WRONG: the owner ends the session,
 * since a half translated line must not pass.
 *
 * MODSEQs (RFC 7162) that a client was shown before the flip are at or below the record's floor; what is
 * asked by one of those is answered in full: every message, with its MODSEQ, and as VANISHED all that was
 * asked for and is not there. No QRESYNC parameter goes to the backend: the mailbox is opened without, and
 * then we ask. Nor is a LIST of one mailbox with its STATUS (RFC 5819) asked as it came, where names differ. So some
 * commands need more than one at the backend: then their tagged answer is VIEW_ASK, and
 * until it is told the owner sends commands of ours, one after the other:
 *
 *   view_rewrite_tagged()    VIEW_ASK: *out goes to the client, the tagged line does not
 *   view_rewrite_ask()       what to send, under a tag of the owner's own
 *   view_rewrite_response()  all untagged data, as ever
 *   view_rewrite_asked()     the tagged answer to it: VIEW_ASK once more, or the client's tagged line
 *
 * Meanwhile the command is under way, and view_rewrite_waits() holds all others. */
#ifndef IMAPFERRY_VIEW_REWRITE_H
#define IMAPFERRY_VIEW_REWRITE_H

#include "imap_cmd.h"
#include "imap_resp.h"
#include "imap_tok.h"
#include "imap_write.h"
#include "view.h"

struct view_rewrite; /* opaque */

/* Takes a reference to the view. */
struct view_rewrite *view_rewrite_new(struct view *v);
void view_rewrite_free(struct view_rewrite **w);
/* A newer version of the view: for names at once, for numbers from the next SELECT on. */
void view_rewrite_use(struct view_rewrite *w, struct view *v);
struct view *view_rewrite_view(const struct view_rewrite *w); /* borrowed */
/* The mailbox that the client has open, after a hand-over, where no SELECT passed here. sight: of the view
 * that is in use, looked at with the backend's UIDNEXT: up to there UIDs can have vanished. */
void view_rewrite_selected(struct view_rewrite *w, struct span client_name, const struct view_sight *sight);
/* What may be used at the backend: has the session ENABLEd QRESYNC there, and is ESEARCH offered? Neither,
 * until it is said; to be said again when either has changed. Without QRESYNC, SELECT (QRESYNC) and VANISHED
 * are BAD. */
void view_rewrite_enabled(struct view_rewrite *w, bool qresync, bool esearch);
/* What the grave of a mailbox without a record gets, should the next command be a RENAME or DELETE of one. Where the client
 * was shown a greater UIDVALIDITY of such a mailbox, it gets that. To be given before each of these two; copied. */
void view_rewrite_unknown(struct view_rewrite *w, const struct view_unknown *unknown);
/* The UIDs of the mailbox that is open; NULL: they are the backend's, or none is open; borrowed. */
const struct view_uid *view_rewrite_map(const struct view_rewrite *w);
/* Has the client a mailbox open? Not after a SELECT to which the backend said OK, where the mailbox can't be
 * shown. */
bool view_rewrite_is_open(const struct view_rewrite *w);

/* ---- commands ---- */

enum view_takes { VIEW_AS_IS, VIEW_BY_PART, VIEW_JOINED, VIEW_NAME, VIEW_WHOLE };
/* part: the first line part, with the literal marker at its end, if it has one. */
enum view_takes view_rewrite_takes(const struct view_rewrite *w, const struct imap_cmd *cmd,
                                   struct span part);
/* The same part. To be asked while anything is under way, and again whenever that has changed. */
bool view_rewrite_waits(const struct view_rewrite *w, const struct imap_cmd *cmd,
                        struct span part) MUST_CHECK;

/* What a command became, until its tagged answer; opaque. To be freed by view_rewrite_tagged() or
 * view_command_free(). */
struct view_command;
void view_command_free(struct view_rewrite *w, struct view_command **c);

enum view_becomes {
    VIEW_PASSES,  /* it goes on as it is */
    VIEW_WRITTEN, /* *out goes on in its place */
    VIEW_NOOP,    /* no message is left of its set: "TAG NOOP" goes on in its place, and the answer to that is
                    * given to view_rewrite_tagged() as any */
    /* It is answered with the lines in *answer, and goes nowhere. Of a part behind a literal, only where the backend
     * has answered already: nobody knows what it takes the part for, and the session has to be ended. */
    VIEW_ANSWERED,
};
/* A line part, with the literal marker at its end, if it has one; *out gets the same without CRLF. *_c is set
 * with the first part, NULL for none, and given again with the others. */
enum view_becomes view_rewrite_part(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                    bool first, struct buf *out, struct buf *answer,
                                    struct view_command **_c) MUST_CHECK;
/* VIEW_JOINED: appends a literal, the name of a header field, to its line. False: it can't be in one (CR, LF or NUL). */
bool view_rewrite_join(struct buf *line, struct span literal) MUST_CHECK;
/* The name that is the first argument. VIEW_WRITTEN: out has tag, verb and the backend's name; the caller
 * sends what stood behind the name. */
enum view_becomes view_rewrite_name(struct view_rewrite *w, const struct imap_cmd *cmd, struct span name,
                                    struct imap_writer *out, struct buf *answer,
                                    struct view_command **_c) MUST_CHECK;
/* args: the first value behind the verb, NULL where there is none. Never VIEW_PASSES; *out is without the CRLF
 * at its end. */
enum view_becomes view_rewrite_whole(struct view_rewrite *w, const struct imap_cmd *cmd,
                                     const struct imap_value *args, struct imap_writer *out,
                                     struct buf *answer, struct view_command **_c) MUST_CHECK;
/* A SELECT or EXAMINE that the owner refuses. answer: what the client is told, without its tag, never freed. The
 * mailbox that is open has to be closed all the same (RFC 3501 6.3.1), and the backend says what is to be said of
 * that: *out is a SELECT of "", which it refuses too. */
void view_rewrite_nowhere(struct view_rewrite *w, const struct imap_cmd *cmd, const char *answer,
                          struct imap_writer *out, struct view_command **_c);
/* A RENAME or a DELETE: its changes have to be in the store before it is sent (view_rename_begin(),
 * view_delete_begin()). NULL: nothing. */
const struct view_changes *view_command_changes(const struct view_command *c);
/* May it go on without them, where the store takes none? A DELETE, and a RENAME of a mailbox without a record. */
bool view_command_does_without(const struct view_command *c);
/* It goes on without them. */
void view_command_drop_changes(struct view_command *c);

/* ---- responses ---- */

enum view_gives {
    VIEW_SAME,    /* passes as it is */
    VIEW_LINES,   /* *out in its place, CRLFs and all */
    VIEW_NOTHING, /* it is not for the client, or is kept until the tagged answer */
    VIEW_COLLECT, /* all of the response is to be collected, literals too, for view_rewrite_collected() */
    VIEW_STORE,   /* view_rewrite_tagged() alone: see there */
    VIEW_ASK,     /* view_rewrite_tagged() and view_rewrite_asked() alone: see there */
    VIEW_WRONG,   /* *wrong is a fixed text */
};
/* A part of an untagged response, status or data. resp: of the first part, NULL for the others, which are not
 * given here after VIEW_COLLECT. literal: the part ends in the
 * marker of one, whose body passes or is dropped as its part was. A part is without its CRLF; VIEW_LINES gives
 * *out with its CRLF, a marker too. */
enum view_gives view_rewrite_response(struct view_rewrite *w, const struct imap_resp *resp, struct span part,
                                      bool literal, struct buf *out, const char **wrong) MUST_CHECK;
/* The same for a FETCH in one line and without strings, if that is what the line is: appends it to *out, CRLF and all.
 * False: nothing is done, and it has to be given to view_rewrite_response(). */
bool view_rewrite_quick(struct view_rewrite *w, struct span line, struct buf *out) MUST_CHECK;
/* data: what stands behind the word of the response, as one list. */
enum view_gives view_rewrite_collected(struct view_rewrite *w, const struct imap_resp *resp,
                                       const struct imap_value *data, struct buf *out,
                                       const char **wrong) MUST_CHECK;
/* The answer to the command *c (may be NULL), which is freed but for VIEW_STORE and VIEW_ASK. VIEW_LINES:
 * *out has what was kept, and the tagged line.
 *
 * VIEW_STORE: a mailbox was opened or asked for that is another one now, or a RENAME or DELETE was done: *changes
 * have to be in the store first (the caller frees them). Then the view with the changes made, or one that was read
 * anew, is given to view_rewrite_use(), and this function is called once more with the same answer. Where the store
 * refuses, view_rewrite_unstored(). */
enum view_gives view_rewrite_tagged(struct view_rewrite *w, struct view_command **c,
                                    const struct imap_resp *resp, struct span line, struct buf *out,
                                    struct view_changes *changes, const char **wrong) MUST_CHECK;
/* VIEW_STORE was given, and the store refuses: VIEW_LINES with an answer that tells nothing of what is not stored. A
 * mailbox that was opened is not open for the client. VIEW_WRONG, where a RENAME was done. *c is freed. */
enum view_gives view_rewrite_unstored(struct view_rewrite *w, struct view_command **c,
                                      const struct imap_resp *resp, struct span line, struct buf *out,
                                      const char **wrong) MUST_CHECK;

/* ---- commands of our own ----
 *
 * VIEW_ASK: *out has lines for the client, if any, to be sent at once and before all that comes of the next
 * command. The client's command stays under way until view_rewrite_asked() gives anything else. */

/* Appends the next command, without tag and CRLF; it has no literals, and at most 8000 bytes. */
void view_rewrite_ask(struct view_rewrite *w, const struct view_command *c, struct buf *out);
/* The tagged answer to it, with the owner's tag in front, which never gets into *out. VIEW_ASK, or VIEW_LINES: *out
 * has what the client is told at last, its own tagged line at the end, and *c is freed.
 * A NO or BAD ends what we ask: a SELECT is answered with NO [UNAVAILABLE] then, and the client has no
 * mailbox open (though the backend has); a LIST as it was; any other command as ours was. An OK to a SEARCH that
 * was not answered counts as a NO, since else all would have vanished. */
enum view_gives view_rewrite_asked(struct view_rewrite *w, struct view_command **c,
                                   const struct imap_resp *resp, struct span line,
                                   struct buf *out) MUST_CHECK;

#endif
