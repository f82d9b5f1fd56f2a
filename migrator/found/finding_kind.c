/* The table of kinds: what each is called, and what it does to the account. */
#include "finding.h"

static const struct {
    const char *word;
    enum finding_class class;
    bool again;     /* a later try may mend it */
    bool by_person; /* all of the kind may be waived by its word */
    const char *text;
    enum why why; /* of an account that has it alone; 0: WHY_CANNOT */
    bool one;     /* not by_person, but all of the kind in one mailbox may be waived */
} rows[FINDING_KINDS] = {
    [FINDING_TOO_LARGE] = {"too_large", FINDING_BLOCKS, false, true,
                           "larger than the new server takes (APPENDLIMIT)"},
    [FINDING_REFUSED] = {"refused", FINDING_BLOCKS, false, true, "refused by the new server"},
    [FINDING_EMPTY] = {"empty", FINDING_BLOCKS, false, true, "messages without a byte"},
    [FINDING_BAD_DATE] = {"bad_date", FINDING_BLOCKS, false, true, "the old server gives no date for them"},
    [FINDING_UNREADABLE] = {"unreadable", FINDING_BLOCKS, true, true, "the old server does not give them"},
    [FINDING_MUTABLE] = {"mutable", FINDING_BLOCKS, true, true,
                         "the old server gives other bytes at each reading"},
    [FINDING_LEFT_BY_WAIVER] = {"left_by_waiver", FINDING_COUNTED, false, false,
                                "not copied, since a person waived them"},
    [FINDING_LEFT_OUT] = {"left_out", FINDING_COUNTED, false, false,
                          "left out by a rule of the configuration"},
    [FINDING_NOT_COPIED] = {"not_copied", FINDING_BLOCKS, true, false, "not copied"},
    [FINDING_MISSING] = {"missing", FINDING_BLOCKS, true, false, "copied, and gone from the new server"},
    [FINDING_BYTES] = {"bytes", FINDING_BLOCKS, true, true, "other bytes on the new server"},
    [FINDING_UNREAD] = {"unread", FINDING_BLOCKS, true, false, "the new server does not give them back"},
    [FINDING_DATE] = {"date", FINDING_BLOCKS, true, true, "another instant on the new server"},
    [FINDING_FLAGS] = {"flags", FINDING_BLOCKS, true, true, "other flags on the new server"},
    [FINDING_FLAGS_LOST] = {"flags_lost", FINDING_BLOCKS, false, true,
                            "flags or keywords that the new server can't keep"},
    [FINDING_ZONE] = {"zone", FINDING_COUNTED, false, false, "the same instant, in another time zone"},
    [FINDING_ORDER] = {"order", FINDING_BLOCKS, false, true, "another order on the new server"},
    [FINDING_BETWEEN] = {"between", FINDING_COUNTED, false, false,
                         "messages of the new server's own that lie between the copies"},
    [FINDING_LEFTOVER] = {"leftover", FINDING_BLOCKS, true, true,
                          "gone from the old server, while the copy is there"},
    [FINDING_UNREMOVABLE] = {"unremovable", FINDING_BLOCKS, false, false,
                             "copies to be removed, which the new server can't without UIDPLUS"},
    [FINDING_SHARE] =
        {"share", FINDING_BLOCKS, false, true,
         "so many messages went from the old server that their copies were not removed unasked"},
    [FINDING_LISTING] = {"listing", FINDING_BLOCKS, true, false, "a server does not list what it has",
                         .one = true},
    [FINDING_NOT_UNDERSTOOD] = {"not_understood", FINDING_BLOCKS, false, false,
                                "answers of a server that can't be understood", WHY_NOT_UNDERSTOOD,
                                .one = true},
    [FINDING_DISAGREES] = {"disagrees", FINDING_COUNTED, false, false,
                           "a server contradicts itself about mailboxes, which were tried"},
    [FINDING_NAME] = {"name", FINDING_BLOCKS, false, true, "mailboxes that the new server can't spell"},
    [FINDING_COLLISION] = {"collision", FINDING_BLOCKS, false, true,
                           "mailboxes that get the same name on the new server"},
    [FINDING_VIRTUAL] = {"virtual", FINDING_COUNTED, false, false,
                         "views of messages that lie in other mailboxes"},
    [FINDING_ALL_MAIL] = {"all_mail", FINDING_BLOCKS, false, true,
                          "views that also show messages which lie in no other mailbox"},
    [FINDING_EXTRA_MAILBOX] = {"extra_mailbox", FINDING_COUNTED, false, false,
                               "mailboxes that only the new server has"},
    [FINDING_SPECIAL_USE] = {"special_use", FINDING_COUNTED, false, false, "special uses that differ"},
    [FINDING_SUBSCRIPTION] = {"subscription", FINDING_COUNTED, false, false,
                              "subscriptions that the new server does not take"},
    [FINDING_NO_SUBSCRIPTIONS] = {"no_subscriptions", FINDING_COUNTED, false, false,
                                  "a server does not tell what is subscribed, so that was left as it is"},
    [FINDING_ACL] = {"acl", FINDING_BLOCKS, false, true,
                     "rights of others that are not the same on the new server"},
    [FINDING_ACL_MORE] = {"acl_more", FINDING_COUNTED, false, false,
                          "rights that the new server gives to everybody, or to a group, by itself"},
    [FINDING_METADATA] = {"metadata", FINDING_BLOCKS, false, true,
                          "annotations that the new server does not take"},
    [FINDING_NO_METADATA] = {"no_metadata", FINDING_COUNTED, false, false,
                             "annotations, which the new server does not have"},
    [FINDING_UNTOLD] = {"untold", FINDING_COUNTED, false, false,
                        "rights or annotations that the old server says it has, and does not tell"},
    [FINDING_SHARED] = {"shared", FINDING_BLOCKS, false, true, "mailboxes shared with others, or of others",
                        WHY_SHARED},
    [FINDING_SAME_ACCOUNT] = {"same_account", FINDING_BLOCKS, false, true, "has the mail of another account",
                              WHY_SAME_ACCOUNT},
    [FINDING_QUOTA] = {"quota", FINDING_BLOCKS, false, false, "over the quota of the new server", WHY_QUOTA},
    [FINDING_QUOTA_LIMIT] = {"quota_limit", FINDING_COUNTED, false, false, "limits that differ"},
};

const char *finding_word(enum finding_kind k)
{
    return rows[k].word;
}

const char *finding_text(enum finding_kind k)
{
    return rows[k].text;
}

enum finding_class finding_class(enum finding_kind k)
{
    return rows[k].class;
}

bool finding_is_waivable(enum finding_kind k)
{
    return rows[k].by_person;
}

bool finding_is_waivable_in_one(enum finding_kind k)
{
    return rows[k].by_person || rows[k].one;
}

bool finding_parse(struct span word, enum finding_kind *_k)
{
    for (size_t k = 0; k < FINDING_KINDS; k++)
        if (span_is(word, rows[k].word)) {
            *_k = (enum finding_kind)k;
            return true;
        }
    return false;
}

bool finding_is_mendable(enum finding_kind k)
{
    return rows[k].again;
}

enum why finding_why(enum finding_kind k)
{
    return rows[k].why;
}
