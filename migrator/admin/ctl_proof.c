#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/xalloc.h"

#include "ctl_print.h"
#include "ctl_proof.h"
#include "migrator/account/proof_file.h"
#include "migrator/mailbox/hasher.h"

enum { BLOCK = 64 * 1024 };

static const char *proof_member(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

/* Hashes the file, or copies it to `to`. False: errno says why. */
static bool proof_read(FILE *f, FILE *to, char hex[PROOF_HEX + 1])
{
    static uint8_t block[BLOCK];
    struct hasher *h = hasher_new();
    uint8_t hash[HASH_SIZE];
    size_t n;
    bool good = true;

    hasher_begin(h);
    while (good && (n = fread(block, 1, sizeof(block), f)) > 0) {
        hasher_add(h, span_of(block, n));
        good = !to || fwrite(block, 1, n, to) == n;
    }
    hasher_end(h, hash);
    hasher_free(&h);
    for (size_t i = 0; i < HASH_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return good && !ferror(f) && (!to || fflush(to) == 0);
}

/* What is wrong with it; to free. NULL: it is the one that was told. */
static char *proof_fault(FILE *f, const char *path, const json_t *proof)
{
    char hex[PROOF_HEX + 1];

    if (!f)
        return xasprintf(
            "the proof was written by the migrator %s, as %s in its journal_dir; here it can't be read: %s",
            proof_member(proof, "migrator"), strstr(path, "/proofs/") + 1, strerror(errno));
    if (!proof_read(f, NULL, hex))
        return xasprintf("%s can't be read: %s", path, strerror(errno));
    if (strcmp(hex, proof_member(proof, "sha256")) != 0)
        return xasprintf("%s is not what was written before the switch-over: its SHA-256 is %s, and was %s",
                         path, hex, proof_member(proof, "sha256"));
    return NULL;
}

static void say_where(const json_t *account, const json_t *proof, const char *path, const char *fault)
{
    json_t *o = json_object();

    json_object_set(o, "user", json_object_get(account, "user"));
    json_object_set(o, "proof", (json_t *)(uintptr_t)proof);
    json_object_set_new(o, "file", json_string(path));
    json_object_set_new(o, "whole", json_boolean(!fault));
    if (fault)
        json_object_set_new(o, "error", json_string(fault));
    ctl_print_json(o);
    json_decref(o);
}

/* Nothing but a file: a link could lead to what only root may read, and a pipe would be waited for. NULL: errno says why. */
static FILE *proof_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    return fd >= 0 ? fdopen(fd, "rb") : NULL;
}

static enum action_rc proof_show(const json_t *account, const json_t *proof, const char *path, bool json)
{
    FILE *f = proof_open(path);
    char *fault = proof_fault(f, path, proof), hex[PROOF_HEX + 1];

    if (json) {
        say_where(account, proof, path, fault);
    } else if (!fault) {
        rewind(f);
        if (!proof_read(f, stdout, hex) || strcmp(hex, proof_member(proof, "sha256")) != 0)
            fault = xasprintf("%s could not be printed wholly", path);
    }
    if (fault && !json)
        ctl_print_error(false, fault, NULL);
    if (f)
        fclose(f);
    enum action_rc rc = fault ? ACTION_FAILED : ACTION_DONE;
    free(fault);
    return rc;
}

enum action_rc ctl_proof(const struct conf *conf, const json_t *account, bool json)
{
    const json_t *proof = json_object_get(account, "proof");

    if (!json_is_object(proof) || !proof_number_good(proof_member(proof, "number"))) {
        ctl_print_error(
            json,
            "there is no proof: the account was not switched over, or by force, or by a migrator that keeps none",
            NULL);
        return ACTION_FAILED;
    }
    char *path =
        proof_path(conf->migrator.journal_dir, proof_member(account, "user"), proof_member(proof, "number"));
    enum action_rc rc = proof_show(account, proof, path, json);
    free(path);
    return rc;
}
