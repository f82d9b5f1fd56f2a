/* What the preauth*.c files share: preauth.c reads commands and answers most of them, preauth_sasl.c is for those
 * that sign in. */
#ifndef IMAPFERRY_PREAUTH_PRIV_H
#define IMAPFERRY_PREAUTH_PRIV_H

#include "lib/imap_cmd.h"
#include "lib/imap_tok.h"
#include "lib/sasl.h"

#include "preauth.h"

/* SASL_RESPONSE: the next line is an answer of AUTHENTICATE, and no command. SASL_END: so it is, and whatever it says,
 * the login was refused. */
enum expects { COMMAND, SASL_RESPONSE, SASL_END };

struct verb_row {
    enum imap_verb verb;
    unsigned flags;
    void (*run)(struct session *s, const struct imap_value *args);
    const char *expected; /* the text of the BAD where the arguments are wrong */
};

struct preauth {
    struct imap_line lines;
    enum expects expects;
    struct imap_cmd cmd; /* the command under way */
    const struct verb_row *row;
    const struct sasl_mechanism *mechanism; /* of AUTHENTICATE */
    struct buf message;                     /* ... what was answered so far, its base64 decoded; owned */
    unsigned answers;                       /* ... in so many answers */
    const char *refusal, *refusal_text;     /* SASL_END: code and text of the NO; borrowed */
    struct imap_tree *args;                 /* owned */
    struct buf literal;                     /* the one that is coming */
    const char *status; /* "BAD", "NO [...]": the command is refused once it is whole, with this text */
    const char *text;
    unsigned bad_in_row;
    unsigned failed_logins;
    unsigned commands; /* that were no logins */
    bool has_long_place;
    bool corked; /* the answers to what came at once go out at once */
    bool full;   /* the client does not take them: it is not read */
};

static const char BAD[] = "BAD";

/* Invalid, or not allowed: three in a row are no mail program, and the session ends. */
void preauth_say_refused(struct session *s, const char *status, const char *text);
/* BAD: the arguments are not what the verb's row expects. */
void preauth_say_expected(struct session *s);

/* AUTH=..., as far as the client may sign in, and LOGINDISABLED. */
void preauth_add_mechanisms(const struct session *s, struct imap_caps *c);
void preauth_run_login(struct session *s, const struct imap_value *args);
void preauth_run_authenticate(struct session *s, const struct imap_value *args);
/* The first line where an answer is expected. */
void preauth_take_response(struct session *s, const struct imap_line_item *item);

#endif
