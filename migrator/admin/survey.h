/* survey: plans many accounts one after the other (planning.h) and writes nothing but a file: a line of JSON for each, as
 * `plan --json` tells it, also of what went wrong. What the file has already is not planned again, so a survey that was stopped is gone
 * on with by the same list and the same file. survey_sum.h adds it up. A thread of uv's pool reads and writes the file. */
#ifndef IMAPFERRY_SURVEY_H
#define IMAPFERRY_SURVEY_H

#include "migrator/site/migrator.h"

#include "actions.h"
#include "bulk_list.h"

struct survey_request {
    struct migrator *m;           /* as for planning_start() */
    const struct bulk_list *list; /* borrowed until the end */
    const char *out;
    uint64_t pause_ms; /* between the ends and the beginnings of two plans */
};
struct survey_count {
    size_t at, n;                   /* how many of the list are done */
    size_t planned, before, failed; /* of these */
    uint64_t began_ms;              /* by clock_boot_ms(): the first plan; 0: none yet */
};

struct survey;
/* An account is done, or was done before. */
typedef void (*survey_step_fn)(void *owner);
/* ACTION_DONE; ACTION_FAILED where some could not be planned; or it could not go on, and error says why ("": it went to the end).
 * The survey is gone when this is called. */
typedef void (*survey_end_fn)(void *owner, enum action_rc rc, const struct survey_count *count,
                              const char *error);
/* Calls back from the loop alone. step may be NULL. */
struct survey *survey_start(const struct survey_request *q, survey_step_fn step, survey_end_fn end,
                            void *owner);
struct survey_count survey_count(const struct survey *s);
/* A line that is being written is written to its end (loop_free() waits for it). NULL is fine. */
void survey_cancel(struct survey **s);

#endif
