/* ctl_survey: `survey FILE --out RESULT` (survey.h), with a bar on a terminal. `report --survey RESULT` adds it up. */
#ifndef IMAPFERRY_CTL_SURVEY_H
#define IMAPFERRY_CTL_SURVEY_H

#include "bulk_list.h"

struct ctl_survey_request {
    const struct conf *conf; /* loaded for CONF_MIGRATOR */
    const struct bulk_list *list;
    const char *out;
    uint64_t pause_ms;
    bool json;
};
/* An exit status (enum action_rc): failed where accounts could not be planned. */
int ctl_survey(const struct ctl_survey_request *q);

#endif
