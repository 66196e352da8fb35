/* store.c - the only file that includes lmdb.h.
 *
 * A write transaction that fills the map is aborted on the spot and marked `redo`: everything more on it says AGAIN,
 * and the next store_begin, when no transaction is open, doubles the map.
 */
#include "base/store.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/store_frame.h"
#include "base/store_lock.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_LEAST_BYTES ((size_t)16 << 20)
enum { PROBE_BYTES = 1 << 16, LOCK_FILE_BYTES = 8192 /* of 126 readers, as LMDB has it */ };

struct store_txn {
    struct store *store; /* NULL: free, where it is a store's own */
    MDB_txn *txn;        /* NULL once the map was full */
    bool write, changed;
    struct store_root root; /* as it will be */
};
struct store {
    MDB_env *env;
    MDB_dbi dbi;
    struct store_lock lock; /* of its own, when store_open took it */
    bool read_only, grow;
    bool reopen;      /* a commit failed: LMDB may refuse all further work in this environment */
    unsigned n_open;  /* transactions */
    struct stat file; /* which state.mdb it is */
    char *dir;
    struct store_txn own; /* the first one open at a time: reading one record back allocates nothing */
};

/* LMDB calls a short write EIO, whatever made it short: is there room for a few pages at the file's end? */
static bool disk_is_full(const struct store *s)
{
    static const char zeros[PROBE_BYTES];
    struct stat info;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/state.mdb", s->dir);
    const off_t end = stat(path, &info) == 0 ? info.st_size : 0;
    const int fd = open(s->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return errno == ENOSPC || errno == EDQUOT;
    const ssize_t n = pwrite(fd, zeros, sizeof zeros, end);
    const bool full = n < 0 ? file_disk_full(errno) : n < (ssize_t)sizeof zeros;
    (void)close(fd);
    return full;
}

/* Our status for LMDB's, with a sentence. */
static enum status mdb_failed(struct err *e, const struct store *s, const char *what, int rc)
{
    const char *dir = s->dir != NULL ? s->dir : "?";
    const bool full = file_disk_full(rc) || (rc == EIO && disk_is_full(s));
    if (full)
        return ERR_SET(e, STATUS_FULL,
                       "store %s: %s: the disk is full (%s); make room, nothing of this transaction is kept", dir, what,
                       mdb_strerror(rc));
    switch (rc) {
    case ENOMEM: return ERR_SET(e, STATUS_OOM, "store %s: %s: out of memory", dir, what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return ERR_SET(e, STATUS_CORRUPT,
                       "store %s: %s: state.mdb is damaged or not ours (%s); restore it from backup/", dir, what,
                       mdb_strerror(rc));
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_SET(e, STATUS_IO,
                       "store %s: %s: %s; who runs this must own the folder and may read and write its files", dir,
                       what, mdb_strerror(rc));
    case MDB_TXN_FULL:
        return ERR_SET(e, STATUS_INVALID, "store %s: %s: too much changed in one transaction; commit more often", dir,
                       what);
    default:
        return ERR_SET(e, STATUS_IO, "store %s: %s: %s; nothing of this transaction is kept", dir, what,
                       mdb_strerror(rc));
    }
}

/* Twice what is there, so that a fresh process does not begin by running a transaction twice. */
static size_t first_map_bytes(const char *path)
{
    struct stat st;
    size_t bytes = MAP_LEAST_BYTES;
    if (stat(path, &st) != 0 || st.st_size < 0) return bytes;
    while (bytes < (size_t)st.st_size * 2 && bytes <= SIZE_MAX / 4) bytes *= 2;
    return bytes;
}

/* LMDB maps its lock file, and writing to a page of it that a full disk has no room for ends the process (SIGBUS): what LMDB
 * makes of it is reserved before.  A reader that may not write there leaves it to LMDB. */
static enum status reserve_lock_file(const struct store *s, struct err *e)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/state.mdb-lock", s->dir);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return s->read_only ? STATUS_OK : mdb_failed(e, s, "open state.mdb-lock", errno);
    int rc;
    do rc = fallocate(fd, 0, 0, LOCK_FILE_BYTES) == 0 ? 0 : errno;
    while (rc == EINTR);
    (void)close(fd);
    return rc == 0 || rc == EOPNOTSUPP ? STATUS_OK : mdb_failed(e, s, "open state.mdb-lock", rc);
}

static enum status env_open(struct store *s, struct err *e)
{
    char path[PATH_MAX];
    MDB_txn *txn = NULL;
    (void)snprintf(path, sizeof path, "%s/state.mdb", s->dir);
    if (s->read_only && access(path, R_OK) != 0) {
        const enum status st = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
        return ERR_SET(e, st, "store %s: state.mdb: %s; check state.dir", s->dir, strerror(errno));
    }
    TRY(reserve_lock_file(s, e));
    int rc = mdb_env_create(&s->env);
    if (rc != 0) return mdb_failed(e, s, "create", rc);
    rc = mdb_env_set_mapsize(s->env, first_map_bytes(path));
    /* A learner reads single records: without reading ahead one that is not cached costs one page, not 32. */
    const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (s->read_only ? MDB_RDONLY : MDB_NORDAHEAD);
    if (rc == 0) rc = mdb_env_open(s->env, path, flags, 0644);
    if (rc != 0) return mdb_failed(e, s, "open", rc);
    rc = mdb_txn_begin(s->env, NULL, s->read_only ? MDB_RDONLY : 0, &txn);
    if (rc != 0) return mdb_failed(e, s, "open", rc);
    rc = mdb_dbi_open(txn, NULL, 0, &s->dbi);
    if (rc == 0) {
        rc = mdb_txn_commit(txn);
    } else {
        mdb_txn_abort(txn);
    }
    return rc == 0 ? STATUS_OK : mdb_failed(e, s, "open", rc);
}

/* Which file LMDB has opened. */
static enum status file_of(const struct store *s, struct stat *info, struct err *e)
{
    mdb_filehandle_t fd;
    const int rc = mdb_env_get_fd(s->env, &fd);
    if (rc != 0) return mdb_failed(e, s, "open", rc);
    return fstat(fd, info) == 0 ? STATUS_OK : file_failed(e, s->dir, "be examined", errno);
}

/* After a failed commit: a fresh environment on the same file.  Another file of that name is somebody else's. */
static enum status env_reopen(struct store *s, struct err *e)
{
    struct stat now;
    if (s->n_open > 0)
        return ERR_SET(e, STATUS_INVALID, "store %s: a commit failed: end %u open transactions first", s->dir,
                       s->n_open);
    if (s->env != NULL) mdb_env_close(s->env);
    s->env = NULL;
    enum status st = env_open(s, e);
    if (st == STATUS_OK) st = file_of(s, &now, e);
    if (st == STATUS_OK && (now.st_ino != s->file.st_ino || now.st_dev != s->file.st_dev))
        st = ERR_SET(e, STATUS_CONFLICT, "store %s: state.mdb was replaced: the folder was taken over", s->dir);
    if (st != STATUS_OK && s->env != NULL) {
        mdb_env_close(s->env);
        s->env = NULL;
    }
    s->reopen = st != STATUS_OK;
    s->grow = false;
    return st;
}

static enum status new_store(struct store **out, const char *dir, bool read_only, bool lock, struct err *e)
{
    enum status st = STATUS_OK;
    if (strlen(dir) + sizeof "/state.mdb-lock" > PATH_MAX)
        return ERR_SET(e, STATUS_INVALID, "store: path of %zu bytes is over %d", strlen(dir), PATH_MAX);
    struct store *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "store %s: out of memory", dir);
    s->lock.fd = -1;
    s->read_only = read_only;
    s->dir = mem_strdup(dir);
    if (s->dir == NULL) {
        st = ERR_SET(e, STATUS_OOM, "store %s: out of memory", dir);
        goto out;
    }
    if (lock) TRY_OUT(st, store_lock_take(&s->lock, dir, false, 0, e));
    TRY_OUT(st, env_open(s, e));
    TRY_OUT(st, file_of(s, &s->file, e));
    *out = s;
    s = NULL;
out:
    store_close(s);
    return st;
}

enum status store_open(struct store **out, const char *dir, bool read_only, struct err *e)
{
    *out = NULL;
    return new_store(out, dir, read_only, !read_only, e);
}

enum status store_open_held(struct store **out, const char *dir, struct err *e)
{
    *out = NULL;
    return new_store(out, dir, false, false, e);
}

void store_close(struct store *s)
{
    if (s == NULL) return;
    if (s->env != NULL) mdb_env_close(s->env);
    store_lock_release(&s->lock);
    mem_free(s->dir);
    mem_free(s);
}

static enum status grow_map(struct store *s, struct err *e)
{
    MDB_envinfo info;
    if (s->n_open > 0)
        return ERR_SET(e, STATUS_INVALID, "store %s: the map must grow: end %u open transactions first", s->dir,
                       s->n_open);
    (void)mdb_env_info(s->env, &info);
    if (info.me_mapsize > SIZE_MAX / 4)
        return ERR_SET(e, STATUS_FULL, "store %s: the map is %zu bytes and cannot grow", s->dir, info.me_mapsize);
    const int rc = mdb_env_set_mapsize(s->env, info.me_mapsize * 2);
    if (rc != 0) return mdb_failed(e, s, "grow the map", rc);
    s->grow = false;
    return STATUS_OK;
}

static MDB_val root_key(void)
{
    return (MDB_val){STORE_ROOT_KEY.n, (void *)(uintptr_t)STORE_ROOT_KEY.p};
}

/* A store without a root record must be fresh: one of the first format had none. */
static enum status root_load(struct store_txn *t, struct err *e)
{
    MDB_val k = root_key(), v;
    MDB_stat all;
    int rc = mdb_get(t->txn, t->store->dbi, &k, &v);
    if (rc == 0) return store_root_get((struct str){v.mv_data, v.mv_size}, &t->root, e);
    if (rc != MDB_NOTFOUND) return mdb_failed(e, t->store, "root", rc);
    rc = mdb_stat(t->txn, t->store->dbi, &all);
    if (rc != 0) return mdb_failed(e, t->store, "root", rc);
    if (all.ms_entries == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "store %s: it has format 1, this program reads %d; finish with the version of freshet that wrote "
                   "it, or begin a new state.dir",
                   t->store->dir, STORE_FORMAT);
}

static int root_save(struct store_txn *t)
{
    MDB_val k = root_key(), v = {STORE_ROOT_BYTES, NULL};
    if (!t->write || !t->changed) return 0;
    t->root.txnid = mdb_txn_id(t->txn);
    const int rc = mdb_put(t->txn, t->store->dbi, &k, &v, MDB_RESERVE);
    if (rc == 0) store_root_put(v.mv_data, &t->root);
    return rc;
}

const struct store_root *store_root(const struct store_txn *t)
{
    return &t->root;
}

uint64_t store_txnid(const struct store_txn *t)
{
    return t->txn != NULL ? mdb_txn_id(t->txn) : 0;
}

static void txn_free(struct store_txn *t)
{
    if (t == &t->store->own)
        *t = (struct store_txn){0};
    else
        mem_free(t);
}

enum status store_begin(struct store_txn **out, struct store *s, bool write, struct err *e)
{
    *out = NULL;
    if (write && s->read_only) return ERR_SET(e, STATUS_INVALID, "store %s: opened read only", s->dir);
    if (s->reopen) TRY(env_reopen(s, e));
    if (s->grow) TRY(grow_map(s, e));
    struct store_txn *t = s->own.store == NULL ? &s->own : mem_calloc(1, sizeof *t);
    if (t == NULL) return ERR_SET(e, STATUS_OOM, "store %s: no memory for a transaction", s->dir);
    t->store = s;
    int rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
    if (rc == MDB_MAP_RESIZED && s->n_open == 0) { /* the writer, another process, has grown it */
        rc = mdb_env_set_mapsize(s->env, 0);
        if (rc == 0) rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
    }
    if (rc != 0) {
        txn_free(t);
        return mdb_failed(e, s, "begin", rc);
    }
    t->write = write;
    s->n_open++;
    const enum status st = root_load(t, e);
    if (st != STATUS_OK) {
        store_abort(t);
        return st;
    }
    *out = t;
    return STATUS_OK;
}

static enum status again(struct err *e, const struct store *s)
{
    return ERR_SET(e, STATUS_AGAIN, "store %s: the map was full and grows: run the transaction again", s->dir);
}

static void drop(struct store_txn *t)
{
    if (t->txn == NULL) return;
    mdb_txn_abort(t->txn);
    t->txn = NULL;
    t->store->n_open--;
}

static enum status full_or_failed(struct store_txn *t, const char *what, int rc, struct err *e)
{
    if (rc != MDB_MAP_FULL) return mdb_failed(e, t->store, what, rc);
    drop(t);
    t->store->grow = true;
    return again(e, t->store);
}

static enum status commit(struct store_txn *t, struct err *e)
{
    if (t->txn == NULL) return again(e, t->store);
    int rc = root_save(t);
    if (rc != 0) {
        if (rc != MDB_MAP_FULL) drop(t);
        return full_or_failed(t, "commit", rc, e);
    }
    rc = mdb_txn_commit(t->txn); /* the handle is gone either way */
    t->txn = NULL;
    t->store->n_open--;
    if (rc == 0) return STATUS_OK;
    if (rc != MDB_MAP_FULL) t->store->reopen = true;
    return full_or_failed(t, "commit", rc, e);
}

enum status store_commit(struct store_txn *t, struct err *e)
{
    const enum status st = commit(t, e);
    txn_free(t);
    return st;
}

void store_abort(struct store_txn *t)
{
    if (t == NULL) return;
    drop(t);
    txn_free(t);
}

/* The key as LMDB sees it, in caller's storage: the table's byte, then the bytes of key. */
static enum status key_make(unsigned char out[STORE_KEY_MAX + 1], MDB_val *v, struct store_txn *t,
                            enum store_table table, struct str key, struct err *e)
{
    if (t->txn == NULL) return again(e, t->store);
    if (key.n > STORE_KEY_MAX)
        return ERR_SET(e, STATUS_INVALID, "store: key of %zu bytes is over %d", key.n, STORE_KEY_MAX);
    out[0] = (unsigned char)table;
    if (key.n > 0) memcpy(out + 1, key.p, key.n);
    *v = (MDB_val){key.n + 1, out};
    return STATUS_OK;
}

static enum status for_writing(const struct store_txn *t, struct err *e)
{
    if (t->write) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "store %s: the transaction only reads", t->store->dir);
}

static struct str bytes_of(MDB_val v)
{
    return (struct str){v.mv_data, v.mv_size};
}

/* The record that the key has so far, if any, leaves the sums. */
static int forget(struct store_txn *t, MDB_val *k)
{
    MDB_val old;
    const int rc = mdb_get(t->txn, t->store->dbi, k, &old);
    if (rc == 0) store_root_take(&t->root, bytes_of(*k), store_frame_hash(bytes_of(old)));
    return rc;
}

enum status store_put(struct store_txn *t, enum store_table table, struct str key, struct str value, struct err *e)
{
    unsigned char key_bytes[STORE_KEY_MAX + 1];
    MDB_val k, v;
    TRY(for_writing(t, e));
    TRY(key_make(key_bytes, &k, t, table, key, e));
    if (value.n > UINT32_MAX - STORE_FRAME_BYTES)
        return ERR_SET(e, STATUS_INVALID, "store %s: value of %zu bytes is over 4 GiB", t->store->dir, value.n);
    v = (MDB_val){value.n + STORE_FRAME_BYTES, NULL};
    int rc = forget(t, &k);
    if (rc == 0 || rc == MDB_NOTFOUND) rc = mdb_put(t->txn, t->store->dbi, &k, &v, MDB_RESERVE);
    if (rc != 0) return full_or_failed(t, "put", rc, e);
    store_root_add(&t->root, bytes_of(k), store_frame_put(v.mv_data, bytes_of(k), value));
    t->changed = true;
    return STATUS_OK;
}

enum status store_get(struct store_txn *t, enum store_table table, struct str key, struct str *value, struct err *e)
{
    unsigned char key_bytes[STORE_KEY_MAX + 1];
    MDB_val k, v;
    *value = (struct str){NULL, 0};
    TRY(key_make(key_bytes, &k, t, table, key, e));
    const int rc = mdb_get(t->txn, t->store->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) return ERR_SET(e, STATUS_NOT_FOUND, "store: no such record in table %d", (int)table);
    if (rc != 0) return mdb_failed(e, t->store, "get", rc);
    uint64_t hash;
    return store_frame_get(bytes_of(k), bytes_of(v), value, &hash, e);
}

enum status store_delete(struct store_txn *t, enum store_table table, struct str key, struct err *e)
{
    unsigned char key_bytes[STORE_KEY_MAX + 1];
    MDB_val k;
    TRY(for_writing(t, e));
    TRY(key_make(key_bytes, &k, t, table, key, e));
    int rc = forget(t, &k);
    if (rc == 0) {
        rc = mdb_del(t->txn, t->store->dbi, &k, NULL);
        t->changed = true;
    }
    return rc == 0 || rc == MDB_NOTFOUND ? STATUS_OK : full_or_failed(t, "delete", rc, e);
}

typedef enum status each_fn(void *user, struct str key, struct str value, struct err *e);

static bool in_table(const MDB_val *k, enum store_table table)
{
    return k->mv_size > 0 && *(const unsigned char *)k->mv_data == (unsigned char)table;
}

enum status store_each(struct store_txn *t, enum store_table table, each_fn *fn, void *user, struct err *e)
{
    return store_each_from(t, table, STR(""), fn, user, e);
}

enum status store_each_from(struct store_txn *t, enum store_table table, struct str from, each_fn *fn, void *user,
                            struct err *e)
{
    unsigned char first[1 + STORE_KEY_MAX];
    MDB_val k = {1 + from.n, first}, v;
    MDB_cursor *c = NULL;
    enum status st = STATUS_OK;
    if (from.n > STORE_KEY_MAX)
        return ERR_SET(e, STATUS_INVALID, "store: a key of %zu bytes, more than %d", from.n, STORE_KEY_MAX);
    first[0] = (unsigned char)table;
    if (from.n > 0) memcpy(first + 1, from.p, from.n);
    if (t->txn == NULL) return again(e, t->store);
    int rc = mdb_cursor_open(t->txn, t->store->dbi, &c);
    if (rc != 0) return mdb_failed(e, t->store, "cursor", rc);
    for (rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0 && in_table(&k, table);
         rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        const struct str key = {(const char *)k.mv_data + 1, k.mv_size - 1};
        struct str value;
        uint64_t hash;
        TRY_OUT(st, store_frame_get(bytes_of(k), bytes_of(v), &value, &hash, e));
        TRY_OUT(st, fn(user, key, value, e));
    }
    if (rc != 0 && rc != MDB_NOTFOUND) st = mdb_failed(e, t->store, "cursor", rc);
out:
    mdb_cursor_close(c);
    return st;
}

enum status store_clear(struct store_txn *t, enum store_table table, struct err *e)
{
    unsigned char first = (unsigned char)table;
    MDB_val k = {1, &first}, v;
    MDB_cursor *c = NULL;
    TRY(for_writing(t, e));
    if (t->txn == NULL) return again(e, t->store);
    int rc = mdb_cursor_open(t->txn, t->store->dbi, &c);
    if (rc != 0) return mdb_failed(e, t->store, "cursor", rc);
    for (rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0 && in_table(&k, table);
         rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        store_root_take(&t->root, bytes_of(k), store_frame_hash(bytes_of(v)));
        t->changed = true;
        rc = mdb_cursor_del(c, 0);
        if (rc != 0) break;
    }
    mdb_cursor_close(c); /* before the abort: LMDB frees a write transaction's cursors with it */
    return rc == 0 || rc == MDB_NOTFOUND ? STATUS_OK : full_or_failed(t, "clear", rc, e);
}
