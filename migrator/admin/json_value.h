/* json_value: values as the answers of all verbs spell them. */
#ifndef IMAPFERRY_JSON_VALUE_H
#define IMAPFERRY_JSON_VALUE_H

#include <jansson.h>

#include "lib/buf.h"

/* A string that may hold any byte: what is not UTF-8 is shown as imap_write_text() does. To decref. */
json_t *json_text(struct span s);
/* "2026-01-31T10:00:00Z"; null for 0. To decref. */
json_t *json_time(uint64_t ms);

/* The values of an object, each an object that says of how many "accounts" it is: those of most first. To decref. */
json_t *json_by_accounts(json_t *by_name);

/* "login": the name that logs in, where the account's key spells it otherwise. */
void json_set_login(json_t *o, const char *key);

#endif
