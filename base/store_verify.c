/* store_verify.c - see store_verify.h. */
#include "base/store_verify.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/store_frame.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_MAX = 2 * 65536 };

struct tally {
    struct store_root sum, root;
    bool has_root;
    void (*fn)(void *user, struct str key, struct str value);
    void *user;
};

static enum status take_record(void *user, struct str key, struct str value, struct err *e)
{
    struct tally *t = user;
    struct str payload;
    uint64_t hash;
    if (key.p[0] == 0) {
        if (t->has_root || key.n != STORE_ROOT_KEY.n || memcmp(key.p, STORE_ROOT_KEY.p, key.n) != 0)
            return ERR_SET(e, STATUS_CORRUPT, "a record of no table");
        t->has_root = true;
        return store_root_get(value, &t->root, e);
    }
    if ((unsigned char)key.p[0] >= STORE_TABLES)
        return ERR_SET(e, STATUS_CORRUPT, "a record of table %d, which there is not", (unsigned char)key.p[0]);
    TRY(store_frame_get(key, value, &payload, &hash, e));
    store_root_add(&t->sum, key, hash);
    if (t->fn != NULL && key.p[0] == (char)STORE_META) t->fn(t->user, (struct str){key.p + 1, key.n - 1}, payload);
    return STATUS_OK;
}

static enum status adds_up(const struct tally *t, const struct store_pages *p, struct err *e)
{
    if (!t->has_root && p->records == 0) return STATUS_OK; /* fresh */
    if (!t->has_root) return ERR_SET(e, STATUS_CORRUPT, "its root record is missing");
    if (t->root.txnid != p->txnid)
        return ERR_SET(e, STATUS_CORRUPT, "transaction %" PRIu64 ", its root record is of %" PRIu64, p->txnid,
                       t->root.txnid);
    for (int i = 0; i < STORE_TABLES; i++)
        if (t->sum.n[i] != t->root.n[i] || t->sum.sum[i] != t->root.sum[i])
            return ERR_SET(e, STATUS_CORRUPT,
                           "table %d: %" PRIu64 " records, there should be %" PRIu64 "; some are lost, doubled or old",
                           i, t->sum.n[i], t->root.n[i]);
    return STATUS_OK;
}

static enum status open_file(int *fd, uint64_t *size, int dir, const char *name, struct err *e)
{
    struct stat info;
    *fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT) return ERR_SET(e, STATUS_NOT_FOUND, "%s is missing", name);
    if (*fd < 0) return file_failed(e, name, "be opened", errno);
    if (fstat(*fd, &info) == 0 && S_ISREG(info.st_mode)) {
        *size = (uint64_t)info.st_size;
        return STATUS_OK;
    }
    (void)close(*fd);
    *fd = -1;
    return ERR_SET(e, STATUS_CORRUPT, "%s is no plain file", name);
}

enum status store_verify(int dir, const char *name, void (*fn)(void *user, struct str key, struct str value),
                         void *user, struct store_verified *out, struct err *e)
{
    struct tally t = {.fn = fn, .user = user};
    struct err why = {0};
    uint64_t size = 0;
    int fd;
    *out = (struct store_verified){0};
    TRY(open_file(&fd, &size, dir, name, e));
    if (size == 0) {
        (void)close(fd);
        return ERR_SET(e, STATUS_CORRUPT, "%s is empty", name);
    }
    void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    const int number = errno;
    (void)close(fd);
    if (map == MAP_FAILED) return file_failed(e, name, "be mapped", number);
    (void)madvise(map, (size_t)size, MADV_WILLNEED);
    enum status st = store_pages_walk(map, (size_t)size, take_record, &t, &out->pages, &why);
    if (st == STATUS_OK) st = adds_up(&t, &out->pages, &why);
    (void)munmap(map, (size_t)size);
    out->root = t.root;
    out->bytes = out->pages.pages * out->pages.page_bytes;
    if (out->bytes > size) out->bytes = size;
    return st == STATUS_OK ? st : ERR_SET(e, st, "%s: %s", name, why.text);
}

enum status store_copy_begin(struct store_copy *c, int dir, const char *name, struct err *e)
{
    uint64_t size = 0;
    enum status st;
    struct err why = {0};
    *c = (struct store_copy){.fd = -1};
    TRY(open_file(&c->fd, &size, dir, name, e));
    c->head = mem_calloc(1, HEAD_MAX);
    if (c->head == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory to copy it", name);
        goto out;
    }
    const ssize_t n = pread(c->fd, c->head, HEAD_MAX, 0);
    if (n < 0) {
        st = file_failed(e, name, "be read", errno);
        goto out;
    }
    st = store_pages_meta(c->head, (size_t)n, &c->pages, &why);
    if (st != STATUS_OK) {
        st = ERR_SET(e, st, "%s: %s", name, why.text);
        goto out;
    }
    store_pages_one_meta(c->head, &c->pages);
    c->bytes = c->pages.pages * c->pages.page_bytes;
    if (c->bytes > size) c->bytes = size; /* free pages that were never written */
out:
    if (st != STATUS_OK) store_copy_end(c);
    return st;
}

enum status store_copy_write(const struct store_copy *c, int dir, const char *name, char hex[HASH_SHA256_HEX],
                             const atomic_bool *stop, struct err *e)
{
    return file_copy(c->fd, c->bytes, c->head, (size_t)(2 * c->pages.page_bytes), dir, name, hex, stop, e);
}

void store_copy_end(struct store_copy *c)
{
    if (c->fd >= 0) (void)close(c->fd);
    mem_free(c->head);
    *c = (struct store_copy){.fd = -1};
}
