#include "imap_code.h"
#include "imap_resp.h"

/* clang-format off */
static const struct imap_code codes[] = {
    {"UNAVAILABLE", true, true, "The mail server can't be reached at the moment, please try again later"},
    {"INUSE", true, true, "The account is in use, please try again later"},
    {"LIMIT", true, true, "A limit was reached, please try again later"},
    {"SERVERBUG", true, true, "The mail server has a fault"},
    {"CONTACTADMIN", true, false, "Please contact your administrator"},
    {"AUTHENTICATIONFAILED", false, false, "Authentication failed"},
    {"AUTHORIZATIONFAILED", false, false, "This account may not be used"},
    {"EXPIRED", false, false, "The password has expired"},
    {"PRIVACYREQUIRED", false, false, "The connection is not private enough"},
    {"NOPERM", false, false, "Not permitted"},
    {"OVERQUOTA", false, false, "The account is over its quota"},
    {"CORRUPTION", false, false, "The account is damaged"},
    {"CLIENTBUG", false, false, "The mail program has a fault"},
    {"CANNOT", false, false, "This can't be done"},
    {"NONEXISTENT", false, false, "There is no such thing"},
    {"ALREADYEXISTS", false, false, "It is there already"},
    {"EXPUNGEISSUED", false, false, "Some messages are gone"},
    {"REFERRAL", true, false, NULL},   /* RFC 2221: would lead the client past us */
    {"THROTTLED", false, true, NULL},  /* of some large providers */
};
/* clang-format on */

const struct imap_code *imap_code_find(struct span code)
{
    for (size_t i = 0; i < COUNTOF(codes); i++)
        if (imap_code_is(code, codes[i].name, NULL))
            return &codes[i];
    return NULL;
}
