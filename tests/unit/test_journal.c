/* The journal on a disk that this test watches: fsync is ours here. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrator/site/journal.h"

/* What fsync was asked, and what it is to answer. The pool's thread writes it, the loop reads it afterwards.
 */
static struct {
    unsigned files, folders;
    off_t size; /* of the file, at its last fsync */
    bool file_fails, folder_fails;
    int hangs; /* 0: no; else a pipe: the fsync of a file ends when somebody writes into it */
} disk;

int fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    bool folder = S_ISDIR(st.st_mode);
    char c;
    if (!folder && disk.hangs)
        assert_int_equal(read(disk.hangs, &c, 1), 1);
    disk.folders += folder;
    disk.files += !folder;
    if (!folder)
        disk.size = st.st_size;
    errno = EIO;
    return (folder ? disk.folder_fails : disk.file_fails) ? -1 : 0;
}

struct bench {
    char folder[32], path[48];
    struct loop *loop;
    struct journal *journal;
    unsigned told;
    char *error; /* owned */
};

static void on_written(void *owner, const char *error)
{
    struct bench *b = owner;
    b->told++;
    free(b->error);
    b->error = error ? xstrdup(error) : NULL;
}

static void open_bench(struct bench *b)
{
    char *error = NULL;
    memset(&disk, 0, sizeof disk);
    *b = (struct bench){.folder = "/tmp/ferry-journal-XXXXXX"};
    assert_non_null(mkdtemp(b->folder));
    snprintf(b->path, sizeof b->path, "%s/flips", b->folder);
    b->loop = loop_new();
    b->journal = journal_open(b->loop, b->folder, &error);
    assert_non_null(b->journal);
}

static void close_bench(struct bench *b)
{
    journal_free(&b->journal);
    loop_free(&b->loop);
    unlink(b->path);
    assert_int_equal(rmdir(b->folder), 0);
    free(b->error);
}

static void write_one_more(struct bench *b)
{
    struct route r = {.source = "old", .target = "new", .epoch = 5, .generation = 1, .view = "1:ab"};
    unsigned before = b->told;
    journal_write(b->journal, "ann", &r, on_written, b);
    assert_int_equal(b->told, before);
    loop_run(b->loop);
}

static void write_one(struct bench *b)
{
    assert_int_equal(b->told, 0);
    write_one_more(b);
}

static void test_a_line_is_on_the_disk_before_anybody_is_told(void **state)
{
    struct bench b;
    struct stat st;
    (void)state;
    open_bench(&b);
    write_one(&b);
    assert_true(b.told == 1 && !b.error);
    assert_int_equal(stat(b.path, &st), 0);
    assert_true(disk.files == 1 && disk.folders == 1);
    assert_true(disk.size == st.st_size && st.st_size > 40); /* synced when the whole line was in it */
    close_bench(&b);
}

/* Whatever another migrator of this host is about when it is stopped. */
static void test_who_is_stopped_in_it_keeps_nobody_waiting(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b);
    int other = open(b.path, O_RDWR);
    assert_true(other >= 0 && flock(other, LOCK_EX) == 0);
    write_one(&b);
    assert_true(b.told == 1 && !b.error);
    close(other);
    close_bench(&b);
}

static void test_a_disk_that_fails_is_told(void **state)
{
    (void)state;
    for (int folder = 0; folder < 2; folder++) {
        struct bench b;
        open_bench(&b);
        *(folder ? &disk.folder_fails : &disk.file_fails) = true;
        write_one(&b);
        assert_true(b.told == 1 && b.error && strstr(b.error, "fsync"));
        close_bench(&b);
    }
}

static char *contents(const struct bench *b)
{
    char *text = xcalloc(1, 4096);
    int fd = open(b->path, O_RDONLY);
    assert_true(fd >= 0 && read(fd, text, 4095) >= 0);
    close(fd);
    return text;
}

static void test_a_probe_leaves_an_empty_line_and_keeps_room(void **state)
{
    struct bench b;
    struct stat st;
    (void)state;
    open_bench(&b);
    journal_probe(b.journal, on_written, &b);
    assert_int_equal(b.told, 0);
    loop_run(b.loop);
    assert_true(b.told == 1 && !b.error && journal_is_good(b.journal));
    assert_int_equal(stat(b.path, &st), 0);
    assert_true(disk.files == 1 && st.st_size == 1 && st.st_blocks * 512 > 8192);
    disk.file_fails = true;
    journal_probe(b.journal, on_written, &b);
    loop_run(b.loop);
    assert_true(b.told == 2 && b.error && !journal_is_good(b.journal));
    disk.file_fails = false;
    write_one_more(&b);
    assert_true(b.told == 3 && !b.error && journal_is_good(b.journal));
    char *text = contents(&b);
    assert_memory_equal(text, "\n\n{\"time\": ", 11);
    free(text);
    close_bench(&b);
}

/* What comes while the disk hangs is told in time, costs no further thread, and is not written later behind
 * the back of who gave it up; what is in the thread may be. */
static void test_a_disk_that_hangs_keeps_nobody_waiting(void **state)
{
    struct route r = {.source = "old", .target = "new", .epoch = 5, .generation = 1, .view = "1:ab"};
    struct bench b;
    int ends[2];
    (void)state;
    open_bench(&b);
    assert_int_equal(pipe(ends), 0);
    disk.hangs = ends[0];
    uint64_t began = clock_boot_ms();
    journal_write(b.journal, "ann", &r, on_written, &b);
    for (int i = 0; i < 10; i++)
        journal_write(b.journal, "bob", &r, on_written, &b);
    while (b.told < 11)
        uv_run(&b.loop->uv, UV_RUN_ONCE);
    uint64_t took = clock_boot_ms() - began;
    assert_true(took >= JOURNAL_SLOW_MS && took < JOURNAL_SLOW_MS + 2000);
    assert_true(b.error && strstr(b.error, "has not written") && !journal_is_good(b.journal) &&
                disk.files == 0);
    journal_write(b.journal, "cas", &r, on_written, &b);
    disk.hangs = 0;
    assert_int_equal(write(ends[1], "x", 1), 1);
    while (b.told < 12)
        uv_run(&b.loop->uv, UV_RUN_ONCE);
    assert_true(!b.error && journal_is_good(b.journal) && disk.files == 2);
    char *text = contents(&b);
    assert_true(strstr(text, "ann") && strstr(text, "cas") && !strstr(text, "bob"));
    free(text);
    close(ends[0]);
    close(ends[1]);
    close_bench(&b);
}

static void test_forgotten_and_freed(void **state)
{
    struct route r = {.source = "old", .target = "new"};
    struct bench b;
    struct stat st;
    (void)state;
    open_bench(&b);
    journal_write(b.journal, "ann", &r, on_written, &b);
    journal_forget(b.journal, &b);
    journal_write(b.journal, "bob", &r, on_written, &b);
    journal_free(&b.journal);
    loop_free(&b.loop); /* waits for what is under way */
    assert_int_equal(b.told, 0);
    assert_true(stat(b.path, &st) == 0 && st.st_size > 80 && st.st_size < 160); /* one line */
    unlink(b.path);
    assert_int_equal(rmdir(b.folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_on_the_disk_before_anybody_is_told),
        cmocka_unit_test(test_who_is_stopped_in_it_keeps_nobody_waiting),
        cmocka_unit_test(test_a_disk_that_fails_is_told),
        cmocka_unit_test(test_a_probe_leaves_an_empty_line_and_keeps_room),
        cmocka_unit_test(test_a_disk_that_hangs_keeps_nobody_waiting),
        cmocka_unit_test(test_forgotten_and_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
