/* store_none.c - stands in for store.c when freshet is built without LMDB: opening says so, the rest is unreachable. */
#include "base/store.h"
#include <assert.h>

enum status store_open(struct store **out, const char *dir, bool read_only, struct err *e)
{
    (void)read_only;
    *out = NULL;
    return ERR_SET(e, STATUS_UNSUPPORTED, "store %s: built without LMDB; configure with FRESHET_WITH_LMDB=ON", dir);
}

enum status store_open_held(struct store **out, const char *dir, struct err *e)
{
    return store_open(out, dir, false, e);
}

/* Nobody holds a store or a transaction in such a build. */
static enum status none(struct err *e)
{
    return ERR_SET(e, STATUS_UNSUPPORTED, "store: built without LMDB");
}

void store_close(struct store *s)
{
    (void)s;
    assert(s == NULL);
}

enum status store_begin(struct store_txn **out, struct store *s, bool write, struct err *e)
{
    (void)s, (void)write;
    *out = NULL;
    return none(e);
}

enum status store_commit(struct store_txn *t, struct err *e)
{
    (void)t;
    return none(e);
}

void store_abort(struct store_txn *t)
{
    (void)t;
    assert(t == NULL);
}

const struct store_root *store_root(const struct store_txn *t)
{
    static const struct store_root fresh;
    (void)t;
    return &fresh;
}

uint64_t store_txnid(const struct store_txn *t)
{
    (void)t;
    return 0;
}

enum status store_put(struct store_txn *t, enum store_table table, struct str key, struct str value, struct err *e)
{
    (void)t, (void)table, (void)key, (void)value;
    return none(e);
}

enum status store_get(struct store_txn *t, enum store_table table, struct str key, struct str *value, struct err *e)
{
    (void)t, (void)table, (void)key;
    *value = (struct str){NULL, 0};
    return none(e);
}

enum status store_delete(struct store_txn *t, enum store_table table, struct str key, struct err *e)
{
    (void)t, (void)table, (void)key;
    return none(e);
}

enum status store_each(struct store_txn *t, enum store_table table,
                       enum status (*fn)(void *user, struct str key, struct str value, struct err *e), void *user,
                       struct err *e)
{
    (void)t, (void)table, (void)fn, (void)user;
    return none(e);
}

enum status store_each_from(struct store_txn *t, enum store_table table, struct str from,
                            enum status (*fn)(void *user, struct str key, struct str value, struct err *e), void *user,
                            struct err *e)
{
    (void)t, (void)table, (void)from, (void)fn, (void)user;
    return none(e);
}

enum status store_clear(struct store_txn *t, enum store_table table, struct err *e)
{
    (void)t, (void)table;
    return none(e);
}
