/* state_file.c - reading: header and index once, records one by one. */
#include "model/state_file.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/state_cache.h"
#include "model/state_file_format.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct state_file {
    int fd;
    struct state_file_head head;
    struct state_file_place *index; /* (head.n) */
    uint64_t bytes;
};

struct state_file_kind state_file_kind(const struct state_cache *c)
{
    return (struct state_file_kind){.key = state_key(c, 0),
                                    .base = encoder_fingerprint(c->m),
                                    .width = (uint32_t)c->C,
                                    .mid = (uint32_t)c->mid,
                                    .precision = encoder_placed_layer(c->m, 0)->qkv.prec,
                                    .tokens = c->keep_tokens};
}

void state_file_name(char out[STATE_FILE_NAME_MAX], const struct state_file_kind *k)
{
    (void)snprintf(out, STATE_FILE_NAME_MAX, "%016" PRIx64 ".states", k->key);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* n bytes from `at` on, whatever it takes. */
static enum status read_all(int fd, void *p, size_t n, uint64_t at, const char *path, struct err *e)
{
    for (unsigned char *to = p; n > 0;) {
        const ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return file_failed(e, path, "be read", errno);
        if (got == 0) return ERR_SET(e, STATUS_CORRUPT, "%s: ends at %" PRIu64 ", it is cut short", path, at);
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return STATUS_OK;
}

static enum status check_head(const struct state_file *f, const char *path, struct err *e)
{
    const struct state_file_head *h = &f->head;
    if (memcmp(h->magic, "FRST", 4) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "%s: is no file of states (freshet model warm makes them)", path);
    if (h->format != STATE_FILE_FORMAT)
        return ERR_SET(e, STATUS_UNSUPPORTED, "%s: format %u, known is %d; make it anew with freshet model warm", path,
                       h->format, STATE_FILE_FORMAT);
    if (h->check != state_file_head_check(h)) return ERR_SET(e, STATUS_CORRUPT, "%s: the header is damaged", path);
    if (h->n > f->bytes / sizeof *f->index || h->index_at < sizeof *h ||
        h->index_at + h->n * sizeof *f->index != f->bytes)
        return ERR_SET(e, STATUS_CORRUPT,
                       "%s: %" PRIu64 " bytes, its header tells of %" PRIu64 " for %" PRIu64
                       " sentences; it is cut short or not its own",
                       path, f->bytes, h->index_at + h->n * sizeof *f->index, h->n);
    return STATUS_OK;
}

static enum status check_kind(const struct state_file_head *h, const struct state_file_kind *want, const char *path,
                              struct err *e)
{
    static const char *const precisions[] = {[KERN_F32] = "f32", [KERN_BF16] = "bf16", [KERN_INT8] = "int8"};
    if (h->precision != want->precision)
        return ERR_SET(e, STATUS_CONFLICT, "%s: states in %s, kernels.precision is %s", path,
                       h->precision <= KERN_INT8 ? precisions[h->precision] : "another precision",
                       precisions[want->precision]);
    if (h->base != want->base)
        return ERR_SET(e, STATUS_CONFLICT, "%s: of base model %016" PRIx64 ", model.base is %016" PRIx64, path, h->base,
                       want->base);
    if (h->width != want->width || h->mid != want->mid)
        return ERR_SET(e, STATUS_CONFLICT,
                       "%s: states of width %u after layer %u, the model wants width %u after layer %u", path, h->width,
                       h->mid, want->width, want->mid);
    if ((h->tokens != 0) != want->tokens)
        return ERR_SET(e, STATUS_CONFLICT, "%s: %s token states, model.user_view and model.item_view want them %s",
                       path, h->tokens ? "with" : "without", want->tokens ? "too" : "left out");
    if (h->key != want->key)
        return ERR_SET(e, STATUS_CONFLICT, "%s: of key %016" PRIx64 ", wanted is %016" PRIx64, path, h->key, want->key);
    return STATUS_OK;
}

static enum status read_index(struct state_file *f, const char *path, size_t room, struct err *e)
{
    const struct state_file_head *h = &f->head;
    const size_t bytes = (size_t)h->n * sizeof *f->index;
    const uint64_t least = sizeof(struct state_file_record) + state_file_numbers_bytes(h->width, 0) + sizeof(uint64_t);
    if (bytes > room)
        return ERR_SET(e, STATUS_FULL, "%s: an index of %zu bytes, there is room for %zu; raise kernels.cache_bytes",
                       path, bytes, room);
    f->index = mem_calloc((size_t)h->n, sizeof *f->index);
    if (f->index == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for an index of %zu bytes", path, bytes);
    TRY(read_all(f->fd, f->index, bytes, h->index_at, path, e));
    bool good = hash_bytes(f->index, bytes) == h->index_check;
    for (uint64_t i = 0; i < h->n && good; i++) {
        const struct state_file_place *p = &f->index[i];
        good = p->at >= sizeof *h && p->at <= h->index_at && least <= h->index_at - p->at &&
               (i == 0 || p[-1].hash < p->hash);
    }
    return good ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "%s: the index is damaged", path);
}

static enum status open_it(struct state_file *f, const char *path, const struct state_file_kind *want, size_t room,
                           struct err *e)
{
    struct stat info;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe of that name is waited for by nobody */
    if (f->fd < 0 && errno == ENOENT) return ERR_SET(e, STATUS_NOT_FOUND, "%s: there is no such file", path);
    if (f->fd < 0 || fstat(f->fd, &info) != 0) return file_failed(e, path, "be opened", errno);
    if (!S_ISREG(info.st_mode)) return ERR_SET(e, STATUS_CORRUPT, "%s: not a file of states, nor any file", path);
    f->bytes = (uint64_t)info.st_size;
    TRY(read_all(f->fd, &f->head, sizeof f->head, 0, path, e));
    TRY(check_head(f, path, e));
    TRY(check_kind(&f->head, want, path, e));
    return read_index(f, path, room, e);
}

enum status state_file_open(struct state_file **out, const char *path, const struct state_file_kind *want, size_t room,
                            struct err *e)
{
    *out = NULL;
    struct state_file *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", path);
    const enum status st = open_it(f, path, want, room, e);
    if (st == STATUS_OK)
        *out = f;
    else
        state_file_close(f);
    return st;
}

void state_file_close(struct state_file *f)
{
    if (f == NULL) return;
    if (f->fd >= 0) (void)close(f->fd);
    mem_free(f->index);
    mem_free(f);
}

size_t state_file_count(const struct state_file *f)
{
    return (size_t)f->head.n;
}

size_t state_file_index_bytes(const struct state_file *f)
{
    return (size_t)f->head.n * sizeof *f->index;
}

uint64_t state_file_bytes(const struct state_file *f)
{
    return f->bytes;
}

uint64_t state_file_hash(const struct state_file *f, size_t i)
{
    return f->index[i].hash;
}

uint64_t state_file_probed(const struct state_file *f)
{
    return f->head.probe;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static const struct state_file_place *find(const struct state_file *f, uint64_t hash)
{
    size_t low = 0, high = (size_t)f->head.n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (f->index[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->head.n && f->index[low].hash == hash ? &f->index[low] : NULL;
}

bool state_file_has(const struct state_file *f, uint64_t hash)
{
    return find(f, hash) != NULL;
}

uint32_t state_file_tokens(const struct state_file *f, uint64_t hash)
{
    struct state_file_record r;
    const struct state_file_place *p = find(f, hash);
    return p != NULL && read_all(f->fd, &r, sizeof r, p->at, "", NULL) == STATUS_OK ? r.n_tokens : 0;
}

enum status state_file_read(const struct state_file *f, uint64_t hash, uint32_t n_tokens, uint16_t *numbers,
                            struct err *e)
{
    struct state_file_record r;
    uint64_t check;
    ssize_t got;
    const size_t bytes = state_file_numbers_bytes(f->head.width, n_tokens);
    const struct iovec parts[] = {{&r, sizeof r}, {numbers, bytes}, {&check, sizeof check}};
    const struct state_file_place *p = find(f, hash);
    if (p == NULL) return ERR_SET(e, STATUS_NOT_FOUND, "states of %016" PRIx64 ": not in the file", hash);
    do got = preadv(f->fd, parts, 3, (off_t)p->at);
    while (got < 0 && errno == EINTR);
    if (got < 0) return ERR_SET(e, STATUS_IO, "states of %016" PRIx64 ": cannot be read: %s", hash, strerror(errno));
    if ((size_t)got != sizeof r + bytes + sizeof check || r.hash != hash || r.n_tokens != n_tokens ||
        check != state_file_record_check(f->head.key, &r, numbers, bytes))
        return ERR_SET(e, STATUS_CORRUPT,
                       "states of %016" PRIx64 ": the record at %" PRIu64
                       " is damaged; make the file anew with freshet model warm",
                       hash, p->at);
    return STATUS_OK;
}
