/* Policies for connections that we take: certificates and their keys, and which of them a client is shown.
 *
 * For each choice of cert_names.h there is a context with its certificates; an SSL begins with that of choice
 * 0, and is given another one once the client has said the name. All contexts of a policy are made alike,
 * since OpenSSL takes some things from the one and some from the other. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "cert_names.h"
#include "tls_priv.h"
#include "xalloc.h"

/* A certificate with what is shown behind it. */
struct tls_pair {
    char *cert_file, *key_file; /* owned */
    X509 *cert;                 /* owned, as the others */
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

struct tls_shown {
    struct tls_pair *pairs; /* owned */
    size_t n;
    struct cert_names *names; /* owned */
    SSL_CTX **choices;        /* one each of names; owned */
    struct ticket_keys tickets;
};

/* --- one certificate --- */

/* An encrypted key must be an error, not a question on the terminal. arg: a bool that says that it was
 * asked. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    if (arg)
        *(bool *)arg = true;
    return 0;
}

/* A file that is just being written ends anywhere: in the middle of a certificate, which OpenSSL tells, or of
 * the line that begins the next one, which it takes for an end. */
static bool ends_whole(const char *file)
{
    char line[256], last[256] = "";
    bool inside = false, begins = true;
    FILE *f = fopen(file, "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (begins && line[0] == '-') {
            inside = strncmp(line, "-----END ", 9) != 0;
            memcpy(last, line, sizeof(last));
        }
        begins = strchr(line, '\n') != NULL;
    }
    if (f)
        fclose(f);
    size_t n = strcspn(last, "\r\n");
    return !inside && (n == 0 || (n >= 14 && strncmp(last + n - 5, "-----", 5) == 0));
}

static bool pair_load_cert(struct tls_pair *p, char **error)
{
    BIO *in = BIO_new_file(p->cert_file, "r");
    X509 *next;
    p->chain = sk_X509_new_null();
    if (!p->chain)
        tls_die("sk_X509_new_null");
    p->cert = in ? PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL) : NULL;
    while (p->cert && (next = PEM_read_bio_X509(in, NULL, no_passphrase, NULL)))
        if (sk_X509_push(p->chain, next) <= 0)
            tls_die("sk_X509_push");
    BIO_free(in);
    if (p->cert && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
        ERR_clear_error(); /* the end of the file */
    else {
        *error = tls_file_text("certificate", p->cert_file, false);
        return false;
    }
    if (ends_whole(p->cert_file))
        return true;
    *error = xasprintf("certificate %s: its end is missing: is it just being written?", p->cert_file);
    return false;
}

static bool pair_load_key(struct tls_pair *p, char **error)
{
    bool encrypted = false;
    BIO *in = BIO_new_file(p->key_file, "r");
    p->key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &encrypted) : NULL;
    BIO_free(in);
    if (!p->key && encrypted)
        *error = xasprintf(
            "key %s: is encrypted, and nobody is there to be asked for a passphrase; expected one without",
            p->key_file);
    else if (!p->key)
        *error = tls_file_text("key", p->key_file, true);
    else if (X509_check_private_key(p->cert, p->key) != 1)
        *error = xasprintf("key %s: does not belong to the certificate %s", p->key_file, p->cert_file);
    ERR_clear_error();
    return !*error;
}

static void pair_free(struct tls_pair *p)
{
    X509_free(p->cert);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    free(p->cert_file);
    free(p->key_file);
}

static bool pair_load(struct tls_pair *p, char **error)
{
    ERR_clear_error();
    return pair_load_cert(p, error) && pair_load_key(p, error);
}

bool tls_pair_check(const char *cert_file, const char *key_file, char **error)
{
    struct tls_pair p = {.cert_file = xstrdup(cert_file), .key_file = xstrdup(key_file)};
    *error = NULL;
    bool ok = pair_load(&p, error);
    pair_free(&p);
    return ok;
}

/* False: OpenSSL does not want it (its key is too short, say). */
static bool pair_use(const struct tls_pair *p, SSL_CTX *ctx, char **error)
{
    if (SSL_CTX_use_cert_and_key(ctx, p->cert, p->key, p->chain, 1) == 1)
        return true;
    *error = tls_file_text("certificate", p->cert_file, false);
    return false;
}

bool tls_ctx_show(SSL_CTX *ctx, const char *cert_file, const char *key_file, char **error)
{
    struct tls_pair p = {.cert_file = xstrdup(cert_file), .key_file = xstrdup(key_file)};
    *error = NULL;
    bool ok = pair_load(&p, error) && pair_use(&p, ctx, error);
    pair_free(&p);
    return ok;
}

/* How many of its names a client can ask for. */
static size_t pair_add_names(const struct tls_pair *p, struct cert_names *names)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(p->cert, NID_subject_alt_name, NULL, NULL);
    size_t n = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        int type;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type);
        if (type == GEN_DNS)
            n += cert_names_add_name(names, span_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)));
    }
    GENERAL_NAMES_free(all);
    return n;
}

/* --- all of them --- */

void tls_shown_free(struct tls_shown **sp)
{
    struct tls_shown *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    for (size_t i = 0; s->choices && i < cert_names_count(s->names); i++)
        SSL_CTX_free(s->choices[i]);
    for (size_t i = 0; i < s->n; i++)
        pair_free(&s->pairs[i]);
    cert_names_free(&s->names);
    wipe(&s->tickets, sizeof(s->tickets));
    free(s->choices);
    free(s->pairs);
    free(s);
}

struct ticket_keys *tls_shown_tickets(struct tls_shown *s)
{
    return &s->tickets;
}

static bool shown_load_tickets(struct tls_shown *s, const struct conf_proxy *c, const struct ticket_keys *own,
                               char **error)
{
    char *why = NULL;
    if (c->tls_ticket_files.n == 0) {
        if (own)
            s->tickets = *own;
        return true;
    }
    if (ticket_keys_load(c->tls_ticket_files.items, c->tls_ticket_files.n, &s->tickets, &why))
        return true;
    *error = xasprintf("ticket key %s", why);
    free(why);
    return false;
}

static bool shown_load(struct tls_shown *s, const struct conf_proxy *c, char **error)
{
    char *cert, *key;
    s->names = cert_names_new();
    for (size_t i = 0; conf_certificate(c, i, &cert, &key); i++) {
        struct tls_pair *p;
        s->pairs = xreallocarray(s->pairs, ++s->n, sizeof(*s->pairs));
        p = &s->pairs[i];
        *p = (struct tls_pair){.cert_file = cert, .key_file = key};
        if (!pair_load(p, error))
            return false;
        cert_names_add(s->names, EVP_PKEY_get_base_id(p->key));
        if (pair_add_names(p, s->names) == 0 && i > 0) {
            *error = xasprintf("certificate %s: has no DNS name (subjectAltName) that a client could ask for",
                               p->cert_file);
            return false;
        }
    }
    cert_names_settle(s->names);
    return true;
}

/* A client that says what it speaks must speak IMAP: a certificate shared with a web server is no way to send
 * us its requests. Saying nothing is fine. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    for (unsigned i = 0; i < in_len; i += 1u + in[i]) {
        if (in[i] == 4 && i + 4 < in_len && memcmp(in + i + 1, "imap", 4) == 0) {
            *out = in + i + 1;
            *out_len = 4;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The policy may have been renewed since the connection came: then it is shown a certificate of now. */
static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    struct tls *t = SSL_get_app_data(ssl);
    const struct tls_shown *shown = t->policy->shown;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool known = false;
    (void)alert;
    (void)arg;
    size_t choice = name ? cert_names_find(shown->names, span_str(name), &known) : 0;
    if (choice > 0 && !SSL_set_SSL_CTX(ssl, shown->choices[choice]))
        tls_die("SSL_set_SSL_CTX");
    return known ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* What the handshake goes on with, where only asked for: that it was not believed is kept. */
static int verify_anybody(int ok, X509_STORE_CTX *ctx)
{
    (void)ok;
    (void)ctx;
    return 1;
}

static bool ctx_ask(SSL_CTX *ctx, const struct conf_proxy *c, char **error)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(c->tls_client_ca);
    if (!names || SSL_CTX_load_verify_locations(ctx, c->tls_client_ca, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        *error = tls_file_text("CA file", c->tls_client_ca, false);
        return false;
    }
    SSL_CTX_set_client_CA_list(ctx, names); /* takes it */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (c->tls_client_required)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    else
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, verify_anybody);
    return true;
}

/* Sessions are not taken from one kind of listener to the other (RFC 8446 section 4.6.1 leaves it to us). */
static void ctx_name(SSL_CTX *ctx, bool asking)
{
    const char *name = asking ? "imapferry+" : "imapferry";
    if (SSL_CTX_set_session_id_context(ctx, (const uint8_t *)name, (unsigned)strlen(name)) != 1)
        tls_die("SSL_CTX_set_session_id_context");
}

static SSL_CTX *server_ctx(const struct conf_proxy *c, bool tickets)
{
    SSL_CTX *ctx = tls_ctx_new(true, c->tls_min);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_max_early_data(ctx, 0); /* it can be played again by who has heard it */
    if (tickets)
        tls_tickets_use(ctx);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
    return ctx;
}

static bool choice_fill(SSL_CTX *ctx, const struct tls_shown *s, const struct cert_choice *choice,
                        char **error)
{
    for (size_t i = choice->n; i-- > 0;)
        if (!pair_use(&s->pairs[choice->certs[i]], ctx, error))
            return false;
    return true;
}

static bool shown_make_choices(struct tls_shown *s, const struct conf_proxy *c, bool asking, char **error)
{
    bool ok = true;
    s->choices = xcalloc(cert_names_count(s->names), sizeof(SSL_CTX *));
    for (size_t i = 0; i < cert_names_count(s->names) && ok; i++) {
        s->choices[i] = server_ctx(c, s->tickets.n > 0);
        ctx_name(s->choices[i], asking);
        ok = choice_fill(s->choices[i], s, cert_names_choice(s->names, i), error) &&
             (!asking || ctx_ask(s->choices[i], c, error));
    }
    return ok;
}

/* Takes s. */
static struct tls_policy *shown_policy(struct tls_shown *s, const struct conf_proxy *c, bool asking,
                                       char **error)
{
    if (!shown_load(s, c, error) || !shown_make_choices(s, c, asking, error)) {
        tls_shown_free(&s);
        return NULL;
    }
    SSL_CTX_up_ref(s->choices[0]);
    struct tls_policy *p = tls_policy_new(true, s->choices[0]);
    p->shown = s;
    return p;
}

struct tls_policy *tls_policy_server(const struct conf_proxy *c, const struct ticket_keys *own, char **error)
{
    struct tls_shown *s = xcalloc(1, sizeof(*s));
    *error = NULL;
    if (shown_load_tickets(s, c, own, error))
        return shown_policy(s, c, false, error);
    tls_shown_free(&s);
    return NULL;
}

struct tls_policy *tls_policy_server_asking(const struct conf_proxy *c, char **error)
{
    *error = NULL;
    return shown_policy(xcalloc(1, sizeof(struct tls_shown)), c, true, error);
}

/* --- their time --- */

/* In seconds since 1970; otherwise: where it can't be read. */
static int64_t tls_time_of(const ASN1_TIME *t, int64_t otherwise)
{
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : otherwise;
}

static void term_narrow(struct tls_term *term, const X509 *cert)
{
    int64_t begins = tls_time_of(X509_get0_notBefore(cert), INT64_MIN),
            ends = tls_time_of(X509_get0_notAfter(cert), INT64_MAX);
    if (begins > term->begins)
        term->begins = begins;
    if (ends < term->ends)
        term->ends = ends;
}

bool tls_policy_term(const struct tls_policy *p, size_t nth, struct tls_term *_r)
{
    if (!p->shown || nth >= p->shown->n)
        return false;
    const struct tls_pair *pair = &p->shown->pairs[nth];
    *_r = (struct tls_term){.file = pair->cert_file, .begins = INT64_MIN, .ends = INT64_MAX};
    term_narrow(_r, pair->cert);
    for (int i = 0; i < sk_X509_num(pair->chain); i++)
        term_narrow(_r, sk_X509_value(pair->chain, i));
    return true;
}

const char *tls_term_fault(const struct tls_term *term, int64_t now)
{
    if (term->ends <= now)
        return "the certificate, or one of its chain, has expired";
    return term->begins > now ? "the certificate, or one of its chain, is not valid yet" : NULL;
}
