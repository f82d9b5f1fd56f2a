/* ctl_top_view: what `top` shows, drawn from what the verbs of actions.h have answered. Pure. */
#ifndef IMAPFERRY_CTL_TOP_VIEW_H
#define IMAPFERRY_CTL_TOP_VIEW_H

#include <jansson.h>

#include "lib/buf.h"

struct top_view {
    /* as the verbs answer; borrowed; NULL: not known yet. running: a list of accounts that are under way, as of ACTION_PAGE,
     * with "rate": bytes a second */
    const json_t *status, *groups, *events, *running;
    double messages_rate, bytes_rate; /* of all, a second; below 0: not known yet */
    size_t columns, rows;
    size_t skip;       /* how many of the running ones are above what is shown */
    bool still;        /* nothing is asked at this moment, since it was stopped */
    double interval_s; /* between looks */
    const char *fault; /* why the last look failed; "" = it did not */
};

/* So many lines as there are rows, each ended by a line feed. Appends. */
void top_draw(struct buf *out, const struct top_view *v);

#endif
