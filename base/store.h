/* store.h - durable key-value records with transactions, over LMDB (the only file that includes lmdb.h).
 *
 * One environment `<dir>/state.mdb` (no sub-directory; LMDB's own lock file beside it) and one writer, which holds
 * `<dir>/lock` (base/store_lock.h); a second one is refused with CONFLICT.  Every value is framed (base/store_frame.h): one that
 * fails its check reads as CORRUPT, one of another format version as UNSUPPORTED.  base/store_verify.h checks a whole file.
 *
 * Growth: a write transaction that meets a full map is thrown away whole, and store_put, _delete, _clear or _commit say
 * AGAIN, as does every later call on it.  The caller ends it (store_commit or store_abort), has no other transaction
 * open, begins a new one and does all its writes again; store_begin doubles the map first.  So writers are loops:
 *
 *   do { st = store_begin(&t, s, true, e); if (st == STATUS_OK) { st = write_all(t, e);
 *        if (st == STATUS_OK) st = store_commit(t, e); else store_abort(t); } } while (st == STATUS_AGAIN);
 *
 * A full disk is FULL, any other fault of it IO: the transaction is not kept, what was committed before stays, and the next
 * store_begin opens the environment anew (CONFLICT when state.mdb is another file by then).  The directory must exist, on a local
 * file system (no MDB_WRITEMAP: a full disk would be SIGBUS), and be opened once per process.  Thread: one at a time; a
 * write transaction ends on the thread that began it.
 */
#ifndef BASE_STORE_H
#define BASE_STORE_H
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FORMAT 2 /* 1: the hash was over the payload alone, and there was no root record */
#define STORE_KEY_MAX 500

/* First byte of every key: separate tables in one sorted space. */
enum store_table {
    STORE_META = 1, /* name → what the state means, offsets, versions */
    STORE_ITEM,     /* id → record_item */
    STORE_USER,     /* id → record_user */
    STORE_SLATE,    /* u64 big-endian id → open slate */
    STORE_HASHED,   /* u32 big-endian page → hashed weights */
    STORE_LEARNER,  /* name → evaluator, part and optimiser state */
    STORE_TABLES
};
struct store_root { /* what all records of a state add up to */
    uint64_t txnid;
    uint64_t n[STORE_TABLES], sum[STORE_TABLES]; /* records, and the sum of their hashes */
};
struct store;
struct store_txn;
/* read_only: no lock taken, beside a writer in another process; NOT_FOUND when there is no store.  Else creates it. */
enum status store_open(struct store **out, const char *dir, bool read_only, struct err *e) MUST_CHECK;
/* For writing, under a lock that the caller holds and keeps until after store_close. */
enum status store_open_held(struct store **out, const char *dir, struct err *e) MUST_CHECK;
void store_close(struct store *s);
enum status store_begin(struct store_txn **out, struct store *s, bool write, struct err *e) MUST_CHECK;
/* t is gone either way.  AGAIN: begin anew and do everything again. */
enum status store_commit(struct store_txn *t, struct err *e) MUST_CHECK;
void store_abort(struct store_txn *t); /* NULL is fine */
/* As of the transaction's begin and its own writes since; txnid: of the commit before. */
const struct store_root *store_root(const struct store_txn *t);
uint64_t store_txnid(
    const struct store_txn *t); /* of a write transaction: the number it will have; 0 after a full map */
enum status store_put(struct store_txn *t, enum store_table table, struct str key, struct str value,
                      struct err *e) MUST_CHECK;
/* value points into the map (unaligned) until the transaction ends or writes.  NOT_FOUND, CORRUPT, UNSUPPORTED. */
enum status store_get(struct store_txn *t, enum store_table table, struct str key, struct str *value,
                      struct err *e) MUST_CHECK;
/* OK when absent. */
enum status store_delete(struct store_txn *t, enum store_table table, struct str key, struct err *e) MUST_CHECK;
/* Calls fn for every record of a table in key order; a non-OK return stops and is returned.  fn must not write. */
enum status store_each(struct store_txn *t, enum store_table table,
                       enum status (*fn)(void *user, struct str key, struct str value, struct err *e), void *user,
                       struct err *e) MUST_CHECK;
/* The same from the first key on that is not before `from`. */
enum status store_each_from(struct store_txn *t, enum store_table table, struct str from,
                            enum status (*fn)(void *user, struct str key, struct str value, struct err *e), void *user,
                            struct err *e) MUST_CHECK;
enum status store_clear(struct store_txn *t, enum store_table table, struct err *e) MUST_CHECK;
#endif
