/* Replays files through one fuzz target: all arguments, folders with the files in them. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static size_t replayed;

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
    uint8_t *own = fuzz_copy(buf_span(&text));
    LLVMFuzzerTestOneInput(own, text.len);
    free(own);
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
