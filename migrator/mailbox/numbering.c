#include "numbering.h"

void numbering_jumped(struct numbering_jump *j, bool ok, const char *why)
{
    j->fn(j->owner, ok, why);
}
