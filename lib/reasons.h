/* reasons: the one table of why an account is not moved on. The reason in a route begins with the word of a
 * row, then ": " and what happened: "unreachable: new: connection refused". The word decides what comes next:
 * the move is tried again by itself, at the user's next login, or by a person; and staff are told so.
 * Pure. */
#ifndef IMAPFERRY_REASONS_H
#define IMAPFERRY_REASONS_H

#include "base.h"

enum why {
    WHY_CREDENTIALS,    /* none, or ones that a server refuses */
    WHY_UNREACHABLE,    /* a server does not answer, or the connection broke */
    WHY_THROTTLED,      /* a server asks to be used more slowly */
    WHY_TLS,            /* a server's certificate or encryption is not what was asked for */
    WHY_SAME_SERVER,    /* the configuration moves it from a server to itself */
    WHY_REFUSED,        /* a server says NO to what every server must do: LIST, CREATE, SELECT ... */
    WHY_DIFFERS,        /* verification found a difference */
    WHY_CANNOT,         /* the target can't take something */
    WHY_NOT_UNDERSTOOD, /* a server's answer can't be understood */
    WHY_SHARED,         /* mailboxes shared with others, or of others */
    WHY_SAME_ACCOUNT,   /* another account has the same mail */
    WHY_QUOTA,          /* the target has not the room */
    WHY_HOOK,           /* a command or URL of the site failed */
    WHY_PROVISION,      /* the account could not be made at the target */
    WHY_UIDVALIDITY,    /* equal UIDVALIDITYs with different UIDs */
    WHY_BYPASS,         /* the source was changed past the proxies while all sessions rested */
    WHY_SESSIONS,       /* the user's sessions did not come to rest */
    WHY_DEADLINE,       /* the last pass took longer than the account may stand still */
    WHY_PAUSED,         /* staff stopped it, or the migrator was stopped */
    WHY_STORE,          /* Redis is away or does not keep what it is told */
    WHY_JOURNAL,        /* a flip could not be written to the migrator's disk */
    WHY_KILLED,         /* two migrators have ended, or fallen silent, while they had the account */
    WHY_PROXY,          /* no fault of the account: a silent proxy may still serve its sessions */
    WHY_CHANGING,       /* no fault: it changes as fast as it is copied */
    WHY_DOUBT,          /* no fault: the target may still execute what a lost connection told it */
    WHY_WINDOW,   /* no fault: a copied account waits for the times in which accounts are switched over */
    WHY_IDLE,     /* no fault: a copied account waits until nobody uses it */
    WHY_WAVE,     /* no fault: its wave is paused */
    WHY_GROUP,    /* no fault: it waits for, or was thawed with, another of its group (route_sharing.h) */
    WHY_INTERNAL, /* what should not happen */
    WHY_COUNT
};

enum why_then {
    THEN_AGAIN,  /* tried again, with growing delay */
    THEN_LOGIN,  /* waits for the user's next login */
    THEN_PERSON, /* waits for staff */
};

const char *why_word(enum why w);
enum why_then why_then(enum why w);
/* Whose row a reason's text begins with; *detail is what follows. False: none. */
bool reason_why(const char *reason, enum why *_r, const char **detail) MUST_CHECK;
/* What staff may do about a reason, as one sentence; "" where the text begins with no word of the table. */
const char *reason_advice(const char *reason);

#endif
