/* store.c - the only file that includes lmdb.h.
 *
 * A write transaction that fills the map is aborted on the spot and marked `redo`: everything more on it says AGAIN,
 * and the next store_begin, when no transaction is open, doubles the map.
 */
#include "base/store.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_LEAST_BYTES ((size_t)16 << 20)
#define FRAME_BYTES 9 /* u8 version before, u64 hash after the payload */

struct store {
    MDB_env *env;
    MDB_dbi dbi;
    int lock_fd; /* -1 when read only */
    bool read_only, grow;
    unsigned n_open; /* transactions */
    char *dir;
};
struct store_txn {
    struct store *store;
    MDB_txn *txn; /* NULL once the map was full */
    bool write;
};

/* Our status for LMDB's, with a sentence.  ENOSPC, EDQUOT, EFBIG and the short write that LMDB calls EIO are IO. */
static enum status mdb_failed(struct err *e, const struct store *s, const char *what, int rc)
{
    const char *dir = s->dir != NULL ? s->dir : "?";
    switch (rc) {
    case ENOMEM: return ERR_SET(e, STATUS_OOM, "store %s: %s: out of memory", dir, what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return ERR_SET(e, STATUS_CORRUPT,
                       "store %s: %s: state.mdb is damaged or not ours (%s); restore it from backup/", dir, what,
                       mdb_strerror(rc));
    case MDB_TXN_FULL:
        return ERR_SET(e, STATUS_FULL, "store %s: %s: too much changed in one transaction; commit more often", dir,
                       what);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO:
    case MDB_PANIC:
        return ERR_SET(e, STATUS_IO, "store %s: %s: %s; make room on the disk, nothing of this transaction is kept",
                       dir, what, mdb_strerror(rc));
    default: return ERR_SET(e, STATUS_IO, "store %s: %s: %s", dir, what, mdb_strerror(rc));
    }
}

static enum status held_by(struct err *e, const char *dir, int fd)
{
    char text[24] = "";
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    const long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    return ERR_SET(e, STATUS_CONFLICT, "store %s: in use by process %ld; stop it, or set another state.dir", dir, pid);
}

/* flock rather than fcntl: a second open in this very process is refused too, and closing another descriptor of the
 * file does not drop it.  The file stays: removing it would let two writers hold two files of one name. */
static enum status lock_take(struct store *s, struct err *e)
{
    char path[PATH_MAX], text[24];
    (void)snprintf(path, sizeof path, "%s/lock", s->dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0) {
        const enum status st = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
        return ERR_SET(e, st, "store %s: cannot open its lock file: %s", s->dir, strerror(errno));
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) return held_by(e, s->dir, s->lock_fd);
        return ERR_SET(e, STATUS_IO, "store %s: flock: %s (no network file systems)", s->dir, strerror(errno));
    }
    const int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) != 0 || pwrite(s->lock_fd, text, (size_t)n, 0) != n)
        return ERR_SET(e, STATUS_IO, "store %s: cannot write its lock file: %s", s->dir, strerror(errno));
    return STATUS_OK;
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

static enum status env_open(struct store *s, struct err *e)
{
    char path[PATH_MAX];
    MDB_txn *txn = NULL;
    (void)snprintf(path, sizeof path, "%s/state.mdb", s->dir);
    if (s->read_only && access(path, R_OK) != 0) {
        const enum status st = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
        return ERR_SET(e, st, "store %s: state.mdb: %s; check state.dir", s->dir, strerror(errno));
    }
    int rc = mdb_env_create(&s->env);
    if (rc != 0) return mdb_failed(e, s, "create", rc);
    rc = mdb_env_set_mapsize(s->env, first_map_bytes(path));
    if (rc == 0) rc = mdb_env_open(s->env, path, MDB_NOSUBDIR | MDB_NOTLS | (s->read_only ? MDB_RDONLY : 0), 0644);
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

enum status store_open(struct store **out, const char *dir, bool read_only, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    if (strlen(dir) + sizeof "/state.mdb-lock" > PATH_MAX)
        return ERR_SET(e, STATUS_INVALID, "store: path of %zu bytes is over %d", strlen(dir), PATH_MAX);
    struct store *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "store %s: out of memory", dir);
    s->lock_fd = -1;
    s->read_only = read_only;
    s->dir = mem_strdup(dir);
    if (s->dir == NULL) {
        st = ERR_SET(e, STATUS_OOM, "store %s: out of memory", dir);
        goto out;
    }
    if (!read_only) TRY_OUT(st, lock_take(s, e));
    TRY_OUT(st, env_open(s, e));
    *out = s;
    s = NULL;
out:
    store_close(s);
    return st;
}

void store_close(struct store *s)
{
    if (s == NULL) return;
    if (s->env != NULL) mdb_env_close(s->env);
    if (s->lock_fd >= 0) (void)close(s->lock_fd); /* releases the lock */
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

enum status store_begin(struct store_txn **out, struct store *s, bool write, struct err *e)
{
    *out = NULL;
    if (write && s->read_only) return ERR_SET(e, STATUS_INVALID, "store %s: opened read only", s->dir);
    if (s->grow) TRY(grow_map(s, e));
    struct store_txn *t = mem_calloc(1, sizeof *t);
    if (t == NULL) return ERR_SET(e, STATUS_OOM, "store %s: no memory for a transaction", s->dir);
    int rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
    if (rc == MDB_MAP_RESIZED && s->n_open == 0) { /* the writer, another process, has grown it */
        rc = mdb_env_set_mapsize(s->env, 0);
        if (rc == 0) rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
    }
    if (rc != 0) {
        mem_free(t);
        return mdb_failed(e, s, "begin", rc);
    }
    t->store = s;
    t->write = write;
    s->n_open++;
    *out = t;
    return STATUS_OK;
}

static enum status again(struct err *e, const struct store *s)
{
    return ERR_SET(e, STATUS_AGAIN, "store %s: the map was full and grows: run the transaction again", s->dir);
}

static enum status full_or_failed(struct store_txn *t, const char *what, int rc, struct err *e)
{
    if (rc != MDB_MAP_FULL) return mdb_failed(e, t->store, what, rc);
    if (t->txn != NULL) {
        mdb_txn_abort(t->txn);
        t->txn = NULL;
        t->store->n_open--;
    }
    t->store->grow = true;
    return again(e, t->store);
}

enum status store_commit(struct store_txn *t, struct err *e)
{
    enum status st = STATUS_OK;
    if (t->txn == NULL) {
        st = again(e, t->store);
    } else {
        const int rc = mdb_txn_commit(t->txn); /* the handle is gone either way */
        t->txn = NULL;
        t->store->n_open--;
        if (rc != 0) st = full_or_failed(t, "commit", rc, e);
    }
    mem_free(t);
    return st;
}

void store_abort(struct store_txn *t)
{
    if (t == NULL) return;
    if (t->txn != NULL) {
        mdb_txn_abort(t->txn);
        t->store->n_open--;
    }
    mem_free(t);
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

static void put_le64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_le64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

enum status store_put(struct store_txn *t, enum store_table table, struct str key, struct str value, struct err *e)
{
    unsigned char key_bytes[STORE_KEY_MAX + 1];
    MDB_val k, v;
    TRY(for_writing(t, e));
    TRY(key_make(key_bytes, &k, t, table, key, e));
    if (value.n > UINT32_MAX - FRAME_BYTES)
        return ERR_SET(e, STATUS_INVALID, "store %s: value of %zu bytes is over 4 GiB", t->store->dir, value.n);
    v = (MDB_val){value.n + FRAME_BYTES, NULL};
    const int rc = mdb_put(t->txn, t->store->dbi, &k, &v, MDB_RESERVE);
    if (rc != 0) return full_or_failed(t, "put", rc, e);
    unsigned char *p = v.mv_data;
    p[0] = STORE_FORMAT;
    if (value.n > 0) memcpy(p + 1, value.p, value.n);
    put_le64(p + 1 + value.n, hash_bytes(p, value.n + 1));
    return STATUS_OK;
}

/* Takes the frame off; the sentence shows the start of the key with what does not print as dots. */
static enum status unframe(MDB_val v, struct str key, enum store_table table, struct str *value, struct err *e)
{
    const unsigned char *p = v.mv_data;
    const bool whole = v.mv_size >= FRAME_BYTES && hash_bytes(p, v.mv_size - 8) == get_le64(p + v.mv_size - 8);
    if (whole && p[0] == STORE_FORMAT) {
        *value = (struct str){(const char *)p + 1, v.mv_size - FRAME_BYTES};
        return STATUS_OK;
    }
    char shown[49];
    const size_t n = key.n < sizeof shown - 1 ? key.n : sizeof shown - 1;
    for (size_t i = 0; i < n; i++) shown[i] = key.p[i] >= 0x20 && key.p[i] < 0x7f ? key.p[i] : '.';
    shown[n] = 0;
    if (whole)
        return ERR_SET(e, STATUS_UNSUPPORTED, "store: record '%s' of table %d has format %u, this program reads %d",
                       shown, (int)table, p[0], STORE_FORMAT);
    return ERR_SET(e, STATUS_CORRUPT,
                   "store: record '%s' of table %d (%zu bytes) fails its check; restore from backup/", shown,
                   (int)table, v.mv_size);
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
    return unframe(v, key, table, value, e);
}

enum status store_delete(struct store_txn *t, enum store_table table, struct str key, struct err *e)
{
    unsigned char key_bytes[STORE_KEY_MAX + 1];
    MDB_val k;
    TRY(for_writing(t, e));
    TRY(key_make(key_bytes, &k, t, table, key, e));
    const int rc = mdb_del(t->txn, t->store->dbi, &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? STATUS_OK : full_or_failed(t, "delete", rc, e);
}

typedef enum status each_fn(void *user, struct str key, struct str value, struct err *e);

static bool in_table(const MDB_val *k, enum store_table table)
{
    return k->mv_size > 0 && *(const unsigned char *)k->mv_data == (unsigned char)table;
}

enum status store_each(struct store_txn *t, enum store_table table, each_fn *fn, void *user, struct err *e)
{
    unsigned char first = (unsigned char)table;
    MDB_val k = {1, &first}, v;
    MDB_cursor *c = NULL;
    enum status st = STATUS_OK;
    if (t->txn == NULL) return again(e, t->store);
    int rc = mdb_cursor_open(t->txn, t->store->dbi, &c);
    if (rc != 0) return mdb_failed(e, t->store, "cursor", rc);
    for (rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0 && in_table(&k, table);
         rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        const struct str key = {(const char *)k.mv_data + 1, k.mv_size - 1};
        struct str value;
        TRY_OUT(st, unframe(v, key, table, &value, e));
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
        rc = mdb_cursor_del(c, 0);
        if (rc != 0) break;
    }
    mdb_cursor_close(c); /* before the abort: LMDB frees a write transaction's cursors with it */
    return rc == 0 || rc == MDB_NOTFOUND ? STATUS_OK : full_or_failed(t, "clear", rc, e);
}
