#include <stdlib.h>
#include <time.h>

#include "lib/account.h"
#include "lib/imap_write.h"
#include "lib/xalloc.h"

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

static int json_compare_accounts(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    json_int_t nx = json_integer_value(json_object_get(*x, "accounts")),
               ny = json_integer_value(json_object_get(*y, "accounts"));

    return nx < ny ? 1 : nx > ny ? -1 : 0;
}

json_t *json_by_accounts(json_t *by_name)
{
    size_t n = 0;
    json_t **all = xcalloc(json_object_size(by_name) + 1, sizeof(*all)), *list = json_array(), *o;
    const char *key;

    json_object_foreach(by_name, key, o) all[n++] = o;
    qsort(all, n, sizeof(*all), json_compare_accounts);
    for (size_t i = 0; i < n; i++)
        json_array_append(list, all[i]);
    free(all);
    return list;
}
