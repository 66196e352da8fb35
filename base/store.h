/* store.h - durable key-value records with transactions, over LMDB (the only file that includes lmdb.h).
 *
 * One environment `<dir>/state.mdb` (no sub-directory), one writer process (a second is refused by pid).  Every value
 * is framed: u8 format version, payload, XXH3-64 of both; a value that fails its check reads as CORRUPT.  The map grows
 * by itself when full (the transaction is run again by the caller: store_commit or store_put return AGAIN after growing).
 * Never on a network file system; no MDB_WRITEMAP (a full disk would be SIGBUS).  Thread: one at a time.
 */
#ifndef BASE_STORE_H
#define BASE_STORE_H
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FORMAT 1
#define STORE_KEY_MAX 500

/* First byte of every key: separate tables in one sorted space. */
enum store_table {
    STORE_META = 1,    /* name → what the state means, offsets, versions */
    STORE_ITEM,        /* id → record_item */
    STORE_USER,        /* id → record_user */
    STORE_SLATE,       /* u64 big-endian id → open slate */
    STORE_HASHED,      /* u32 big-endian page → hashed weights */
    STORE_LEARNER,     /* name → evaluator, part and optimiser state */
    STORE_TABLES
};
struct store;
struct store_txn;
enum status store_open(struct store **out, const char *dir, bool read_only, struct err *e) MUST_CHECK;
void store_close(struct store *s);
enum status store_begin(struct store_txn **out, struct store *s, bool write, struct err *e) MUST_CHECK;
enum status store_commit(struct store_txn *t, struct err *e) MUST_CHECK; /* t is gone either way; AGAIN: map grown, redo */
void store_abort(struct store_txn *t);                                   /* NULL is fine */
enum status store_put(struct store_txn *t, enum store_table table, struct str key, struct str value, struct err *e) MUST_CHECK;
/* value points into the map until the transaction ends. NOT_FOUND, CORRUPT (framing). */
enum status store_get(struct store_txn *t, enum store_table table, struct str key, struct str *value, struct err *e) MUST_CHECK;
enum status store_delete(struct store_txn *t, enum store_table table, struct str key, struct err *e) MUST_CHECK; /* OK when absent */
/* Calls fn for every record of a table in key order; a non-OK return stops and is returned. */
enum status store_each(struct store_txn *t, enum store_table table,
                       enum status (*fn)(void *user, struct str key, struct str value, struct err *e), void *user,
                       struct err *e) MUST_CHECK;
enum status store_clear(struct store_txn *t, enum store_table table, struct err *e) MUST_CHECK;
#endif
