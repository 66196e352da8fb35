/* store_verify.h - is a store whole?  Every page, every record, and that they add up; and copies of its newest state.
 *
 * Works on the file, without LMDB and without the store's lock.  A store that another process writes to meanwhile may read
 * as damaged; its copy by store_copy is verified in its own right.
 */
#ifndef BASE_STORE_VERIFY_H
#define BASE_STORE_VERIFY_H
#include "base/hash.h"
#include "base/status.h"
#include "base/store.h"
#include "base/store_pages.h"
#include <stdatomic.h>

struct store_verified {
    struct store_pages pages;
    struct store_root root;
    uint64_t bytes; /* live length */
};
/* fn: may be NULL; sees each record of STORE_META that is sound (before the rest is known to be).  NOT_FOUND no file;
 * CORRUPT; UNSUPPORTED another format; OOM; IO.  Thread: any; in a child where a damaged disk may mean SIGBUS. */
enum status store_verify(int dir, const char *name, void (*fn)(void *user, struct str key, struct str value),
                         void *user, struct store_verified *out, struct err *e) MUST_CHECK;

/* A copy of the newest state, begun while nobody commits, written out while others may: LMDB leaves the pages of a state
 * alone for the next two transactions. */
struct store_copy {
    int fd;
    unsigned char *head; /* the two meta pages, both of the state that is copied */
    struct store_pages pages;
    uint64_t bytes; /* that will be copied */
};
enum status store_copy_begin(struct store_copy *c, int dir, const char *name, struct err *e) MUST_CHECK;
/* As `name` in dir, fsynced.  hex and stop may be NULL (see file_copy).  Thread: any. */
enum status store_copy_write(const struct store_copy *c, int dir, const char *name, char hex[HASH_SHA256_HEX],
                             const atomic_bool *stop, struct err *e) MUST_CHECK;
void store_copy_end(struct store_copy *c); /* zeroed is fine only with fd -1 */
#endif
