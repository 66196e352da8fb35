/* weights.c - the weight file: put together, taken apart with every bound checked, written durably.
 *
 * Parameters start at a multiple of 64 bytes from the file's start, so that a file read into aligned memory is used in
 * place.  Floats are copied as they lie in memory: little-endian machines only.
 */
#include "schemas/weights.h"
#include "base/arena.h"
#include "base/file.h"
#include "schemas/weights_table.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES 80 /* up to and with the SHA-256 */
#define SHA_BYTES 32

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are written from memory as it lies");

/* ---- putting together ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_bytes(const char *hex, unsigned char out[SHA_BYTES])
{
    for (size_t i = 0; i < SHA_BYTES; i++) {
        const int high = hex_digit(hex[2 * i]), low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);
        if (low < 0) return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return hex[2 * SHA_BYTES] == 0;
}

enum status weights_encode(struct buf *b, const struct weights_view *w, struct err *e)
{
    const size_t start = b->n;
    unsigned char sha[SHA_BYTES];
    if (!hex_bytes(w->sha256, sha)) return ERR_SET(e, STATUS_INVALID, "weights: '%.64s' is no SHA-256", w->sha256);
    buf_put(b, "FRWT", 4);
    buf_u32(b, WEIGHTS_FORMAT);
    buf_u64(b, w->version);
    buf_u64(b, w->base_fingerprint);
    buf_u32(b, w->n_tensors);
    buf_u32(b, 0); /* flags */
    buf_u64(b, w->n_params);
    buf_u64(b, w->n_moments);
    buf_put(b, sha, sizeof sha);
    TRY(weights_table_put(b, w, e));
    while (!b->oom && (b->n - start) % 64 != 0) buf_u8(b, 0);
    buf_put(b, w->params, w->n_params * sizeof(float));
    buf_put(b, w->moments, w->n_moments);
    if (!b->oom) buf_u64(b, hash_bytes(b->p + start, b->n - start));
    return buf_status(b, e);
}

/* ---- taking apart ---- */

static enum status corrupt(struct err *e, const char *why)
{
    return ERR_SET(e, STATUS_CORRUPT, "weights: %s; the file is damaged", why);
}

static enum status get_head(struct buf_reader *r, struct weights_view *out, struct err *e)
{
    const uint32_t format = buf_get_u32(r);
    if (format != WEIGHTS_FORMAT)
        return ERR_SET(e, STATUS_UNSUPPORTED, "weights: format %u, this build reads %d", format, WEIGHTS_FORMAT);
    out->version = buf_get_u64(r);
    out->base_fingerprint = buf_get_u64(r);
    out->n_tensors = buf_get_u32(r);
    const uint32_t flags = buf_get_u32(r);
    out->n_params = buf_get_u64(r);
    out->n_moments = buf_get_u64(r);
    const unsigned char *sha = buf_get(r, SHA_BYTES);
    if (sha == NULL || flags != 0 || out->n_tensors > WEIGHTS_TENSORS_MAX ||
        out->n_params > buf_left(r) / sizeof(float))
        return corrupt(e, "its head is cut off or out of range");
    for (size_t i = 0; i < SHA_BYTES; i++) (void)snprintf(out->sha256 + 2 * i, 3, "%02x", sha[i]);
    return STATUS_OK;
}

static enum status check_sha(const struct weights_view *w, struct err *e)
{
    char hex[HASH_SHA256_HEX];
    TRY(hash_sha256_of(w->params, w->n_params * sizeof(float), hex, e));
    if (strcmp(hex, w->sha256) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "weights: parameters hash to %s, the file says %s; it is damaged", hex,
                       w->sha256);
    return STATUS_OK;
}

enum status weights_decode(struct weights_view *out, const void *bytes, size_t n, bool verify_sha, struct arena *a,
                           struct err *e)
{
    *out = (struct weights_view){0};
    if (n < HEAD_BYTES + 8 || memcmp(bytes, "FRWT", 4) != 0) return corrupt(e, "too short, or no weight file at all");
    struct buf_reader tail = buf_reader((const unsigned char *)bytes + n - 8, 8);
    if (buf_get_u64(&tail) != hash_bytes(bytes, n - 8)) return corrupt(e, "its XXH3 does not match");
    struct buf_reader r = buf_reader((const unsigned char *)bytes + 4, n - 12);
    TRY(get_head(&r, out, e));
    TRY(weights_table_get(&r, out, a, e));
    while (!r.bad && (size_t)(r.p - (const unsigned char *)bytes) % 64 != 0)
        if (buf_get_u8(&r) != 0) return corrupt(e, "its padding is not zero");
    out->params = buf_get(&r, out->n_params * sizeof(float));
    if (out->params == NULL || buf_left(&r) != out->n_moments) return corrupt(e, "its size does not match its head");
    out->moments = buf_get(&r, out->n_moments);
    return verify_sha ? check_sha(out, e) : STATUS_OK;
}

/* ---- files ---- */

static enum status failed(struct err *e, const char *path, const char *what)
{
    return ERR_SET(e, STATUS_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

enum status weights_write_file(const char *path, const struct buf *b, struct err *e)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int dir;
    TRY(buf_status(b, e));
    if (strlen(path) >= sizeof folder)
        return ERR_SET(e, STATUS_INVALID, "weights: path of %zu bytes is too long", strlen(path));
    if (slash == NULL)
        (void)snprintf(folder, sizeof folder, ".");
    else
        (void)snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    struct err why = {0};
    enum status st = file_open_dir(&dir, AT_FDCWD, folder, false, &why);
    if (st == STATUS_OK) st = file_write(dir, slash == NULL ? path : slash + 1, b->p, b->n, &why);
    if (dir >= 0) (void)close(dir);
    return st == STATUS_OK ? st : ERR_SET(e, st, "%s: %s", path, why.text);
}

static enum status read_all(int fd, size_t n, struct buf *b, const char *path, struct err *e)
{
    unsigned char *at = buf_room(b, n);
    if (at == NULL) return buf_status(b, e);
    while (n > 0) {
        const ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed(e, path, "be read");
        if (got == 0) return ERR_SET(e, STATUS_CORRUPT, "%s: cut off while it was read", path);
        at += got;
        n -= (size_t)got;
    }
    return STATUS_OK;
}

enum status weights_read_file(const char *path, size_t max, struct buf *b, struct err *e)
{
    struct stat info;
    buf_clear(b);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return ERR_SET(e, STATUS_NOT_FOUND, "%s: no such file", path);
    if (fd < 0) return failed(e, path, "be opened");
    enum status st = STATUS_OK;
    if (fstat(fd, &info) != 0)
        st = failed(e, path, "be examined");
    else if (!S_ISREG(info.st_mode) || info.st_size < 0 || (uintmax_t)info.st_size > max)
        st = ERR_SET(e, STATUS_INVALID, "%s: no plain file of at most %zu bytes", path, max);
    else
        st = read_all(fd, (size_t)info.st_size, b, path, e);
    (void)close(fd);
    return st;
}
