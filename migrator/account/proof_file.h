/* proof_file: a proof on the migrator's disk: the file journal_dir/proofs/ACCOUNT-GENERATION.EPOCH, where ACCOUNT is the beginning of
 * the SHA-256 of the account key. It is written piece by piece, each in a thread of uv's pool. A file that a crash has left half
 * written is known by its SHA-256, which no flip has told. */
#ifndef IMAPFERRY_PROOF_FILE_H
#define IMAPFERRY_PROOF_FILE_H

#include "lib/loop.h"

enum { PROOF_HEX = 64 /* hex digits of a SHA-256 */ };

/* Of all proofs; to free. Made where it is missing; a failure shows at the first proof. */
char *proof_folder(const char *journal_dir);
void proof_folder_make(const char *journal_dir);
/* number: "GENERATION.EPOCH". To free. */
char *proof_path(const char *journal_dir, const char *user, const char *number);
/* Is it no more than digits and a point, so that a file can be named by it? */
bool proof_number_good(const char *number);

struct proof_file;
/* error: NULL, or why not, for people; borrowed. */
typedef void (*proof_file_fn)(void *owner, const char *error);

/* Takes the path. Nothing is on the disk before the first write. */
struct proof_file *proof_file_new(struct loop *l, char *path);
/* Takes the bytes out of text. last: calls back once the file and its name are on the disk. One call at a time, and none after an
 * error. Never calls back before it returned. */
void proof_file_write(struct proof_file *f, struct buf *text, bool last, proof_file_fn fn, void *owner);
/* Of all that was written. */
void proof_file_hash(struct proof_file *f, char hex[PROOF_HEX + 1]);
/* No callback comes any more. Unless it is kept, the file is taken away, as soon as the disk answers. NULL is fine. */
void proof_file_free(struct proof_file **f, bool keep);

/* Takes away all files of an account, by and by. */
void proof_files_forget(struct loop *l, const char *journal_dir, const char *user);

#endif
