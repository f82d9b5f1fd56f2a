/* migration_rules: what the site says about what moves and under which name, parsed once, when the
 * configuration is read: the options rename, exclude, leave_out and acl_map of the section migration. */
#ifndef IMAPFERRY_MIGRATION_RULES_H
#define IMAPFERRY_MIGRATION_RULES_H

#include "leave_out.h"
#include "options.h"
#include "view_rename.h"

struct migration_rules {
    struct view_renames *renames;
    struct view_pattern **excluded; /* owned; as many as the option has values */
    size_t n_excluded;
    struct leave_out *leave_out;
    struct view_renames *identities; /* how the identifiers of ACLs are mapped (acl_map) */
};

/* Parses the four options into m->rules. False: each value that is wrong was told to fn (NULL is fine), with
 * its number in the option; why is a fixed text. Call migration_rules_free() in this case too. */
typedef void (*rules_fault_fn)(void *owner, const char *option, const char *value, size_t nth,
                               const char *why);
bool migration_rules_load(struct conf_migration *m, rules_fault_fn fn, void *owner) MUST_CHECK;
void migration_rules_free(struct conf_migration *m);

/* The number of the first pattern of exclude that means the mailbox, from 1 on; 0: none. */
size_t migration_rules_exclude(const struct migration_rules *r, const struct view_place *mailbox);

#endif
