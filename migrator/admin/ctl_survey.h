/* ctl_survey: `survey FILE --out RESULT`: plans many accounts one after the other and writes nothing but the result: a line of
 * JSON for each, as `plan --json` tells it, also of what went wrong. What the result has already is not planned again, so a
 * survey that was stopped is gone on with by the same command. `report --survey RESULT` adds it up. */
#ifndef IMAPFERRY_CTL_SURVEY_H
#define IMAPFERRY_CTL_SURVEY_H

#include "bulk_list.h"

struct survey_request {
    const struct conf *conf; /* loaded for CONF_MIGRATOR */
    const struct bulk_list *list;
    const char *out;
    uint64_t pause_ms; /* between the ends and the beginnings of two plans */
    bool json;
};
/* An exit status (enum action_rc): failed where accounts could not be planned. */
int ctl_survey(const struct survey_request *q);

#endif
