/* Who a peer is, by its certificate. */
#include <stdlib.h>

#include <openssl/x509v3.h>

#include "tls_priv.h"
#include "xalloc.h"

/* Text as UTF-8; NULL: it holds a NUL or another control character, which is nobody's name. To free. */
static char *peer_text(const ASN1_STRING *from)
{
    uint8_t *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, from);
    bool ok = len > 0;
    for (int i = 0; i < len && ok; i++)
        ok = utf8[i] >= ' ' && utf8[i] != 0x7f;
    char *text = ok ? xspandup(span_of(utf8, (size_t)len)) : NULL;
    OPENSSL_free(utf8);
    return text;
}

static char *peer_subject(X509 *cert)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *bytes;
    if (!out ||
        X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
        tls_die("X509_NAME_print_ex");
    long len = BIO_get_mem_data(out, &bytes);
    char *text = xspandup(span_of(bytes, (size_t)len));
    BIO_free(out);
    return text;
}

static char *peer_common_name(X509 *cert)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = -1, last = -1;
    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
        last = at;
    char *text = last < 0 ? NULL : peer_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
    return text ? text : xstrdup("");
}

static void peer_add_emails(X509 *cert, struct tls_peer *p)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        int type;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type);
        char *text = type == GEN_EMAIL ? peer_text(s) : NULL;
        if (!text)
            continue;
        p->emails = xreallocarray(p->emails, p->n_emails + 1, sizeof(char *));
        p->emails[p->n_emails++] = text;
    }
    GENERAL_NAMES_free(all);
}

bool tls_peer(const struct tls *t, struct tls_peer *_r)
{
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (!cert || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return false;
    *_r = (struct tls_peer){.subject = peer_subject(cert), .common_name = peer_common_name(cert)};
    peer_add_emails(cert, _r);
    return true;
}

void tls_peer_free(struct tls_peer *p)
{
    for (size_t i = 0; i < p->n_emails; i++)
        free(p->emails[i]);
    free(p->emails);
    free(p->subject);
    free(p->common_name);
    *p = (struct tls_peer){.n_emails = 0};
}
