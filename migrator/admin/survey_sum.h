/* survey_sum: adds up what a survey has found (ctl_survey.h): sizes, what can't go as it is, tiers. */
#ifndef IMAPFERRY_SURVEY_SUM_H
#define IMAPFERRY_SURVEY_SUM_H

#include <stdio.h>

#include <jansson.h>

/* Reads a result. An object: accounts, blocked, mailboxes, messages, bytes, tiers, findings (a list of kind, text, blocks,
 * findings, accounts, examples), failed (a list of error, accounts, examples); those that concern most accounts first. Of an account
 * that was planned twice the later line counts. To decref; NULL: *_line is no JSON of a survey. */
json_t *survey_sum(FILE *f, size_t *_line);
/* Adds "rate" (bytes a second) and "hours", from the points of ACTION_HISTORY: of the times in which something was copied. Nothing
 * where nothing ever was. */
void survey_add_hours(json_t *sum, json_t *points);

#endif
