/* survey_sum: adds up what a survey has found (ctl_survey.h): sizes, what can't go as it is, tiers, who shares with whom. */
#ifndef IMAPFERRY_SURVEY_SUM_H
#define IMAPFERRY_SURVEY_SUM_H

#include <stdio.h>

#include <jansson.h>

/* Reads a result. An object: accounts, blocked, mailboxes, messages, bytes, tiers, findings (a list of kind, text, blocks,
 * findings, accounts, examples), failed (a list of error, accounts, examples); those that concern most accounts first. Of an account
 * that was planned twice the later line counts. To decref; NULL: *_line is no JSON of a survey.
 *
 * And sharing: group_max, accounts (in groups), groups (sharing.h; a list of accounts, surveyed, messages, bytes, members, too_large;
 * of one that is, without and rest), apart (what accounts share that ties nobody to anybody: a list of with, who, accounts, examples). */
json_t *survey_sum(FILE *f, size_t group_max, size_t *_line);
/* The members of all groups, a line each. */
void survey_write_csv(FILE *f, const json_t *sum);
/* Leaves the first groups of many, and says as "more" how many are left out. */
void survey_cut_groups(json_t *sum, size_t most);
/* Adds "rate" (bytes a second) and "hours", from the points of ACTION_HISTORY: of the times in which something was copied. Nothing
 * where nothing ever was. */
void survey_add_hours(json_t *sum, json_t *points);

#endif
