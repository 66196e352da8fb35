/* source_stream.c - one read loop over four codecs; the only file that includes zlib, lzma and zstd. */
#include "ingest/source_stream.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define INPUT_BYTES 262144
#define XZ_MEMORY (512u << 20) /* xz -9 needs 65 MiB; a hostile header may ask for 4 GiB */

enum codec { CODEC_PLAIN, CODEC_GZIP, CODEC_XZ, CODEC_ZSTD };
struct source_stream {
    char *path;
    int fd;
    enum codec codec;
    uint64_t taken, total;
    unsigned char *in;
    size_t at, n; /* unread input is in[at..n) */
    bool eof;     /* of the stored file */
    bool done;    /* the codec stands between members: here the file may end */
    z_stream gz;
    lzma_stream xz;
    ZSTD_DStream *zstd;
    bool gz_open, xz_open;
};

const char *source_stream_name(const struct source_stream *s)
{
    return s->fd == STDIN_FILENO ? "standard input" : s->path;
}

bool source_stream_waits(const struct source_stream *s, int wait_ms)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    if (s->total > 0 || s->eof || s->at < s->n) return false;
    const int n = poll(&p, 1, wait_ms);
    return n == 0 || (n < 0 && errno == EINTR); /* by a signal: the caller looks whether it is to stop */
}

uint64_t source_stream_taken(const struct source_stream *s)
{
    return s->taken;
}

uint64_t source_stream_total(const struct source_stream *s)
{
    return s->total;
}

/* Makes unread input available unless the file has ended. */
static enum status fill(struct source_stream *s, size_t want, struct err *e)
{
    if (s->at > 0 && s->at == s->n) s->at = s->n = 0;
    while (!s->eof && s->n - s->at < want) {
        const ssize_t got = read(s->fd, s->in + s->n, INPUT_BYTES - s->n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return ERR_SET(e, STATUS_IO, "%s: reading at byte %llu failed: %s", source_stream_name(s),
                           (unsigned long long)s->taken, strerror(errno));
        if (got == 0) s->eof = true;
        s->n += (size_t)got;
        s->taken += (uint64_t)got;
    }
    return STATUS_OK;
}

static enum codec codec_of(const unsigned char *p, size_t n)
{
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) return CODEC_GZIP;
    if (n >= 6 && memcmp(p,
                         "\xfd"
                         "7zXZ\0",
                         6) == 0)
        return CODEC_XZ;
    if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0) return CODEC_ZSTD;
    return CODEC_PLAIN;
}

static enum status codec_open(struct source_stream *s, struct err *e)
{
    const lzma_stream fresh = LZMA_STREAM_INIT;
    s->codec = codec_of(s->in + s->at, s->n - s->at);
    if (s->codec == CODEC_GZIP) s->gz_open = inflateInit2(&s->gz, 15 + 16) == Z_OK;
    if (s->codec == CODEC_XZ) {
        s->xz = fresh;
        s->xz_open = lzma_stream_decoder(&s->xz, XZ_MEMORY, LZMA_CONCATENATED) == LZMA_OK;
    }
    if (s->codec == CODEC_ZSTD) s->zstd = ZSTD_createDStream();
    if (s->codec != CODEC_PLAIN && !s->gz_open && !s->xz_open && s->zstd == NULL)
        return ERR_SET(e, STATUS_OOM, "%s: no memory to decompress", source_stream_name(s));
    return STATUS_OK;
}

static enum status file_open(struct source_stream *s, const char *path, struct err *e)
{
    struct stat about;
    s->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) return ERR_SET(e, STATUS_IO, "%s: can't be opened: %s", path, strerror(errno));
    if (fstat(s->fd, &about) != 0) return ERR_SET(e, STATUS_IO, "%s: can't be looked at: %s", path, strerror(errno));
    if (S_ISDIR(about.st_mode)) return ERR_SET(e, STATUS_IO, "%s: is a folder; name the log files inside it", path);
    if (S_ISREG(about.st_mode)) s->total = (uint64_t)about.st_size;
    return STATUS_OK;
}

enum status source_stream_open(struct source_stream **out, const char *path, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct source_stream *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory to read it", path);
    s->fd = -1;
    s->done = true;
    s->path = mem_strdup(path);
    s->in = mem_realloc(NULL, INPUT_BYTES, 1);
    if (s->path == NULL || s->in == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory to read it", path);
        goto out;
    }
    TRY_OUT(st, file_open(s, path, e));
    TRY_OUT(st, fill(s, 6, e));
    TRY_OUT(st, codec_open(s, e));
    *out = s;
    s = NULL;
out:
    source_stream_close(s);
    return st;
}

void source_stream_close(struct source_stream *s)
{
    if (s == NULL) return;
    if (s->gz_open) (void)inflateEnd(&s->gz);
    if (s->xz_open) lzma_end(&s->xz);
    if (s->zstd != NULL) (void)ZSTD_freeDStream(s->zstd);
    if (s->fd > STDIN_FILENO) (void)close(s->fd);
    mem_free(s->path);
    mem_free(s->in);
    mem_free(s);
}

static enum status broken(const struct source_stream *s, const char *what, struct err *e)
{
    return ERR_SET(e, STATUS_IO, "%s: the compressed data is damaged near byte %llu: %s", source_stream_name(s),
                   (unsigned long long)(s->taken - (s->n - s->at)), what);
}

static enum status step_gzip(struct source_stream *s, unsigned char *p, size_t n, size_t *got, struct err *e)
{
    if (s->done) {
        if (s->in[s->at] == 0) { /* padding after the last member */
            s->at++;
            return STATUS_OK;
        }
        if (inflateReset(&s->gz) != Z_OK) return broken(s, "inflate can't start again", e);
    }
    s->gz.next_in = s->in + s->at;
    s->gz.avail_in = (uInt)(s->n - s->at);
    s->gz.next_out = p;
    s->gz.avail_out = (uInt)(n < 1u << 30 ? n : 1u << 30);
    const uInt room = s->gz.avail_out;
    const int rc = inflate(&s->gz, Z_NO_FLUSH);
    s->at = s->n - s->gz.avail_in;
    *got = room - s->gz.avail_out;
    s->done = rc == Z_STREAM_END;
    if (rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR) return STATUS_OK;
    if (rc == Z_MEM_ERROR) return ERR_SET(e, STATUS_OOM, "%s: no memory to decompress", source_stream_name(s));
    return broken(s, s->gz.msg ? s->gz.msg : "bad gzip data", e);
}

static enum status step_xz(struct source_stream *s, unsigned char *p, size_t n, size_t *got, struct err *e)
{
    s->xz.next_in = s->in + s->at;
    s->xz.avail_in = s->n - s->at;
    s->xz.next_out = p;
    s->xz.avail_out = n;
    const lzma_ret rc = lzma_code(&s->xz, s->eof && s->at == s->n ? LZMA_FINISH : LZMA_RUN);
    s->at = s->n - s->xz.avail_in;
    *got = n - s->xz.avail_out;
    s->done = rc == LZMA_STREAM_END;
    if (rc == LZMA_OK || rc == LZMA_STREAM_END || rc == LZMA_BUF_ERROR) return STATUS_OK;
    if (rc == LZMA_MEM_ERROR) return ERR_SET(e, STATUS_OOM, "%s: no memory to decompress", source_stream_name(s));
    if (rc == LZMA_MEMLIMIT_ERROR) return broken(s, "it wants more than 512 MiB to decompress", e);
    return broken(s, "bad xz data", e);
}

static enum status step_zstd(struct source_stream *s, unsigned char *p, size_t n, size_t *got, struct err *e)
{
    ZSTD_inBuffer in = {s->in, s->n, s->at};
    ZSTD_outBuffer out = {p, n, 0};
    const size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);
    s->at = in.pos;
    *got = out.pos;
    if (ZSTD_isError(rc)) return broken(s, ZSTD_getErrorName(rc), e);
    s->done = rc == 0;
    return STATUS_OK;
}

static enum status step_plain(struct source_stream *s, unsigned char *p, size_t n, size_t *got)
{
    const size_t left = s->n - s->at;
    *got = left < n ? left : n;
    memcpy(p, s->in + s->at, *got);
    s->at += *got;
    return STATUS_OK;
}

static enum status step(struct source_stream *s, unsigned char *p, size_t n, size_t *got, struct err *e)
{
    switch (s->codec) {
    case CODEC_GZIP: return step_gzip(s, p, n, got, e);
    case CODEC_XZ: return step_xz(s, p, n, got, e);
    case CODEC_ZSTD: return step_zstd(s, p, n, got, e);
    default: return step_plain(s, p, n, got);
    }
}

enum status source_stream_read(struct source_stream *s, void *p, size_t n, size_t *got, struct err *e)
{
    *got = 0;
    for (;;) {
        const bool starved = s->eof && s->at == s->n;
        if (starved && s->done && s->codec != CODEC_XZ) return STATUS_END;
        if (starved && s->codec == CODEC_XZ && s->done && s->taken > 0) return STATUS_END;
        if (!starved) TRY(fill(s, 1, e));
        const bool empty = s->at == s->n;
        if (empty && s->done && s->codec != CODEC_XZ) continue; /* the end was found only now */
        TRY(step(s, p, n, got, e));
        if (*got > 0) return STATUS_OK;
        if (empty && s->eof && !s->done)
            return ERR_SET(e, STATUS_IO, "%s: the compressed data ends early, at byte %llu; was the file cut short?",
                           source_stream_name(s), (unsigned long long)s->taken);
    }
}
