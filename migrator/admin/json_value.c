#include <stdlib.h>
#include <time.h>

#include "lib/account.h"
#include "lib/imap_write.h"

#include "json_value.h"

json_t *json_text(struct span s)
{
    json_t *text = json_stringn((const char *)(s.p ? s.p : (const uint8_t *)""), s.len);

    if (!text) {
        struct buf plain = {0};
        imap_write_text(&plain, s);
        text = json_string(buf_str(&plain));
        buf_free(&plain);
    }
    return text;
}

json_t *json_time(uint64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[40];

    if (ms == 0)
        return json_null();
    gmtime_r(&s, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

void json_set_login(json_t *o, const char *key)
{
    char *login = account_login(key);

    if (login && strcmp(login, key))
        json_object_set_new(o, "login", json_text(span_str(login)));
    free(login);
}
