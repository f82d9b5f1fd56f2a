/* A configuration file: by the scanner alone, then loaded as imapferryctl does (which reads no other files);
 * what loads is printed, and what is printed loads as the same. Its lines are also tried as addresses and as
 * login names. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/address.h"
#include "lib/conf.h"
#include "lib/conf_scan.h"

#include "fuzz.h"

static struct conf *load(struct span text)
{
    char *error = NULL, *path = NULL;
    int fd = memfd_create("conf", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, text.p, text.len) == (ssize_t)text.len);
    path = xasprintf("/proc/self/fd/%d", fd);
    struct conf *c = conf_load(path, CONF_CTL, &error);
    MUST(!c == (error != NULL));
    for (const char *line = error; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        MUST(strncmp(line, path, strlen(path)) == 0);
    free(error);
    free(path);
    close(fd);
    return c;
}

static void check_account(const struct conf *c, struct span login)
{
    const char *why = NULL;
    char *key = account_key(c, login, &why);
    MUST(!key == (why != NULL));
    if (!key)
        return;
    char *name = account_login(key);
    MUST(name);
    char *again = account_key(c, span_str(name), &why);
    MUST(again && !strcmp(again, key));
    free(again);
    free(name);
    free(key);
}

static void check_address(struct span line)
{
    struct address a = {0}, b = {0};
    char *error = NULL, *text = xspandup(line);
    if (address_parse(text, &a, &error)) {
        char *shown = address_text(&a);
        MUST(address_parse(shown, &b, &error) && a.scheme == b.scheme && a.port == b.port && a.db == b.db);
        free(shown);
    }
    free(error);
    address_free(&a);
    address_free(&b);
    free(text);
}

static void check_scan(struct span text, bool *good)
{
    struct scan scan;
    *good = conf_scan(text, &scan);
    MUST(*good == (scan.n_faults == 0));
    for (size_t i = 0; i < scan.n_faults; i++)
        MUST(scan.faults[i].line > 0);
    MUST(!scan.plain || strlen(scan.plain) == text.len);
    conf_scan_free(&scan);
}

static void check_print(const struct conf *c)
{
    struct buf first = {0}, second = {0};
    conf_print(&first, c);
    struct conf *again = load(buf_span(&first));
    MUST(again);
    conf_print(&second, again);
    MUST(span_eq(buf_span(&first), buf_span(&second)));
    conf_free(&again);
    buf_free(&first);
    buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span text = span_of(data, len);
    bool good;
    check_scan(text, &good);
    struct conf *c = load(text);
    MUST(good || !c);
    if (c)
        check_print(c);
    for (struct span rest = text; rest.len > 0;) {
        struct span line = fuzz_cut(&rest, '\n');
        check_address(line);
        if (c)
            check_account(c, line);
    }
    conf_free(&c);
    return 0;
}
