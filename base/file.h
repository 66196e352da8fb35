/* file.h - what a state folder needs of files: durable replacement, copies with their SHA-256, folders given up whole.
 *
 * Names are relative to an open folder (a descriptor), so that a process which lost the folder to another one goes on
 * writing into the folder that it had opened, not into the one that has its name now.  A full disk (ENOSPC, EDQUOT,
 * EFBIG) is FULL, all other faults are IO; after a failure no temporary file is left behind.  Thread: any.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "base/hash.h"
#include "base/status.h"
#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool file_disk_full(int number); /* an errno that room on the disk mends */
/* "<name>: cannot <what>: <strerror(number)>", with the status that the number means. */
enum status file_failed(struct err *e, const char *name, const char *what, int number);
/* Opens the folder, making it first when it is absent. */
enum status file_open_dir(int *fd, int dir, const char *name, bool make, struct err *e) MUST_CHECK;
enum status file_sync_dir(int dir, const char *name, struct err *e) MUST_CHECK;
char *file_parent(const char *path); /* the folder that path is an entry of; mem_free it, NULL: out of memory */
enum status file_sync_parent(const char *path, struct err *e) MUST_CHECK;
/* n bytes as `name`, durably and at once: temporary name, fsync, rename, fsync of the folder. */
enum status file_write(int dir, const char *name, const void *p, size_t n, struct err *e) MUST_CHECK;
/* The next n bytes to fd, whatever it takes.  name: for the sentence. */
enum status file_write_all(int fd, const void *p, size_t n, const char *name, struct err *e) MUST_CHECK;
/* A new file `name`: `head` (n_head bytes), then bytes n_head to n of `from`; fsync.  hex: SHA-256 of all, may be NULL.
 * CORRUPT when `from` is shorter; END when *stop (may be NULL) becomes true meanwhile. */
enum status file_copy(int from, uint64_t n, const void *head, size_t n_head, int dir, const char *name,
                      char hex[HASH_SHA256_HEX], const atomic_bool *stop, struct err *e) MUST_CHECK;
/* A whole file, as above.  NOT_FOUND: it is missing. */
enum status file_copy_whole(int from_dir, const char *from, int dir, const char *name, struct err *e) MUST_CHECK;
/* SHA-256 of a whole file. */
enum status file_sha256(int dir, const char *name, char hex[HASH_SHA256_HEX], struct err *e) MUST_CHECK;
/* Gives the file at path a new inode that holds its first n bytes: what another process still writes through its own
 * descriptor no longer arrives.  A shorter file is kept whole; an absent one is OK. */
enum status file_renew(const char *path, uint64_t n, struct err *e) MUST_CHECK;
/* What is in the open folder, but for "." and "..", in no order; names are valid until the next.  list: NULL: it can't be read
 * (errno); next: NULL: no more, or d is NULL.  Files may come and go meanwhile. */
DIR *file_list(int dir);
const char *file_next(DIR *d);
void file_list_end(DIR *d); /* NULL is fine */
/* Removes a file, or a folder with all that is in it; absent is fine, what can't be removed stays. */
void file_remove(int dir, const char *name);
#endif
