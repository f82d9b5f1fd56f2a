/* Replays files through one fuzz target: all arguments, folders with the files in them. Each file as it is,
 * and then MUTATIONS times with a few bytes changed, left out or doubled, or cut short: always the same
 * ones. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { MUTATIONS = 200, CHANGES = 4 };

static size_t replayed;

static uint32_t next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Exactly as many bytes as there are, so that the sanitizer sees a read behind them. */
static void run(struct span input)
{
    uint8_t *own = fuzz_copy(input);
    LLVMFuzzerTestOneInput(own, input.len);
    free(own);
}

static void change(uint8_t *text, size_t *len, size_t room, uint32_t *state)
{
    static const uint8_t telling[] = "\0\r\n \"\\(){}+*~&%.,:\377\2000";
    size_t at = next(state) % *len, n = 1 + next(state) % 8;
    if (n > *len - at)
        n = *len - at;
    switch (next(state) % 4) {
    case 0:
        text[at] = (uint8_t)next(state);
        break;
    case 1:
        text[at] = telling[next(state) % (sizeof telling - 1)];
        break;
    case 2:
        memmove(text + at, text + at + n, *len - at - n);
        *len -= n;
        break;
    default:
        if (*len + n > room)
            break;
        memmove(text + at + n, text + at, *len - at);
        *len += n;
    }
}

static void mutate(struct span input)
{
    uint32_t state = 2463534242u ^ (uint32_t)input.len;
    size_t room = input.len + CHANGES * 8;
    uint8_t *text = xcalloc(room, 1);
    for (int i = 0; i < MUTATIONS && input.len > 0; i++) {
        size_t len = input.len;
        memcpy(text, input.p, len);
        for (int j = 0; j < CHANGES && len > 0; j++)
            change(text, &len, room, &state);
        if (i % 5 == 0)
            len = len ? next(&state) % len : 0;
        run(span_of(text, len));
    }
    free(text);
}

static void replay_file(const char *path)
{
    struct buf text = {0};
    uint8_t block[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        buf_add(&text, block, n);
    fclose(f);
    run(buf_span(&text));
    mutate(buf_span(&text));
    buf_free(&text);
    replayed++;
}

static void replay(const char *path)
{
    struct stat st;
    DIR *folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    if (!folder) {
        replay_file(path);
        return;
    }
    for (struct dirent *e; (e = readdir(folder));)
        if (e->d_name[0] != '.') {
            char *file = xasprintf("%s/%s", path, e->d_name);
            replay(file);
            free(file);
        }
    closedir(folder);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%zu replayed\n", replayed);
    return replayed > 0 ? 0 : 1;
}
