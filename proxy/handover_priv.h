/* What handover.c and handover_judge.c share: a hand-over under way. */
#ifndef IMAPFERRY_HANDOVER_PRIV_H
#define IMAPFERRY_HANDOVER_PRIV_H

#include "lib/view.h"
#include "lib/view_list.h"

#include "handover.h"
#include "opened.h"

enum { HANDOVER_TAG_BYTES = 8 };

enum handover_step { SIGN_IN, VIEW, ASK, JUDGE };
enum handover_ask { ASK_ID, ASK_NAMESPACE, ASK_ENABLE, ASK_SELECT, ASK_LIST, ASK_STATUS, ASK_COUNT };

struct handover {
    struct session *s; /* borrowed */
    bool is_thaw;      /* back to the source */
    bool tells_id;     /* the client has said another ID than the connection was opened with */
    enum handover_step step;
    uint64_t began_ms;
    struct backend_login *dialog; /* SIGN_IN; owned */
    struct stream *stream;        /* from ASK on; owned */
    struct imap_line line;
    char tag[2 * HANDOVER_TAG_BYTES + 2]; /* of all commands here, with a letter for which behind it */
    bool asked[ASK_COUNT];                /* and not answered yet */

    /* By which names and numbers are rewritten from here on, from ASK on; NULL: nothing is. A reference. */
    struct view *view;
    struct view_sight sight; /* JUDGE: of the mailbox that is open; of view */

    uint32_t uidvalidity, uidnext, exists;
    bool read_only, empty_list;
    bool asked_uidnext;    /* by STATUS */
    bool no_modseqs;       /* the mailbox has none there */
    struct opened enabled; /* what was enabled there; nothing else of it is used */
    struct view_list list;
    char *namespaces; /* owned */
    struct buf told;  /* FLAGS and PERMANENTFLAGS, for the client */
};

/* All that was asked for is there, and something may pass: compares, and the session goes on, or ends. */
void handover_judge(struct handover *h);

#endif
