/* ctl_restore: what imapferryctl tells of a restore (restore.h): of one store, or of all of a site, one behind the other. */
#ifndef IMAPFERRY_CTL_RESTORE_H
#define IMAPFERRY_CTL_RESTORE_H

#include <jansson.h>
#include <stddef.h>

/* On standard error: what may be missing, who is held since hosts contradict each other, and groups that are not as they were. */
void ctl_restore_print(const json_t *data);
/* Of one store of several, from 1: adds data to *all (NULL: it is the first; owned by the caller), and makes data what is told of all up to now. */
void ctl_restore_add(json_t **all, json_t *data, size_t store);

#endif
