/* What is configured of TLS, and takes more than a look to understand. */
#include "base64.h"
#include "conf.h"
#include "xalloc.h"

bool conf_certificate(const struct conf_proxy *p, size_t nth, char **_cert, char **_key)
{
    if (nth > p->tls_certs.n)
        return false;
    if (nth == 0) {
        *_cert = xstrdup(p->tls_cert);
        *_key = xstrdup(p->tls_key);
        return true;
    }
    const char *pair = p->tls_certs.items[nth - 1];
    size_t n = strcspn(pair, "+");
    *_cert = xspandup(span_of(pair, n));
    *_key = xstrdup(pair[n] ? pair + n + 1 : pair);
    return true;
}

const char *conf_certificate_option(size_t nth, bool key, size_t *_nth)
{
    *_nth = nth > 0 ? nth - 1 : 0;
    return nth > 0 ? "tls_certs" : key ? "tls_key" : "tls_cert";
}

bool conf_pin(const char *text, uint8_t pin[CONF_PIN_SIZE])
{
    static const char head[] = "sha256//";
    struct buf bytes = {0};
    bool ok = strncmp(text, head, sizeof(head) - 1) == 0 &&
              base64_decode(&bytes, span_str(text + sizeof(head) - 1)) && bytes.len == CONF_PIN_SIZE;

    if (ok)
        memcpy(pin, buf_span(&bytes).p, CONF_PIN_SIZE);
    buf_free(&bytes);
    return ok;
}

static bool is_tls_listener(const char *listen)
{
    static const char *const with_tls[] = {"imaps:", "imap+starttls:", "pop3s:", "pop3+starttls:"};
    for (size_t i = 0; i < COUNTOF(with_tls); i++)
        if (strncmp(listen, with_tls[i], strlen(with_tls[i])) == 0)
            return true;
    return false;
}

bool conf_has_tls_listener(const struct conf_proxy *p)
{
    for (size_t i = 0; i < p->listen.n; i++)
        if (is_tls_listener(p->listen.items[i]))
            return true;
    return false;
}

bool conf_asks_clients(const struct conf_proxy *p, const char *listen)
{
    bool named = p->tls_client_listen.n == 0;

    for (size_t i = 0; i < p->tls_client_listen.n; i++)
        named = named || strcmp(p->tls_client_listen.items[i], listen) == 0;
    return named && *p->tls_client_ca && is_tls_listener(listen);
}
