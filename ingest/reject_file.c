/* reject_file.c - see reject_file.h. */
#include "ingest/reject_file.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_BYTES 65536
#define KEPT_BYTES (16u << 20)
#define PATH_BYTES 600

struct reject_file {
    char path[PATH_BYTES];
    int fd;
    uint64_t length; /* durable */
    struct buf kept; /* since then */
    size_t written;  /* of that */
};

static enum status fault(const struct reject_file *f, const char *what, int number, struct err *e)
{
    return ERR_SET(e, file_disk_full(number) ? STATUS_FULL : STATUS_IO, "ingest.dead_letters=%s: %s: %s", f->path, what,
                   strerror(number));
}

/* The folder's entry of the file becomes durable. */
static enum status sync_folder(const struct reject_file *f, struct err *e)
{
    struct err why;
    const enum status st = file_sync_parent(f->path, &why);
    return st == STATUS_OK ? st : ERR_SET(e, st, "ingest.dead_letters=%s", why.text);
}

static enum status open_fd(struct reject_file *f, uint64_t *size, struct err *e)
{
    struct stat about;
    f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->fd < 0 || fstat(f->fd, &about) != 0) return fault(f, "can't be opened", errno, e);
    if (!S_ISREG(about.st_mode)) return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: is not a file", f->path);
    *size = (uint64_t)about.st_size;
    return STATUS_OK;
}

static enum status cut(struct reject_file *f, uint64_t length, struct err *e)
{
    if (ftruncate(f->fd, (off_t)length) == 0 && lseek(f->fd, (off_t)length, SEEK_SET) >= 0) return STATUS_OK;
    const int number = errno;
    return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: can't be cut back to %llu bytes: %s", f->path,
                   (unsigned long long)length, strerror(number));
}

/* Whoever still has the old file open goes on writing into one that has no name. */
static enum status replace(struct reject_file *f, uint64_t length, struct err *e)
{
    struct err why;
    uint64_t size;
    const enum status st = file_renew(f->path, length, &why);
    if (st != STATUS_OK) return ERR_SET(e, st, "ingest.dead_letters=%s", why.text);
    (void)close(f->fd);
    TRY(open_fd(f, &size, e));
    return sync_folder(f, e);
}

static enum status start_file(struct reject_file *f, struct reject_file_start start, struct err *e)
{
    uint64_t size = 0;
    const bool there = access(f->path, F_OK) == 0;
    TRY(open_fd(f, &size, e));
    f->length = start.known ? start.length : start.keep ? size : 0;
    if (start.known && !there && start.length > 0) {
        log_warn("dead_letters", "file=%s text=\"was moved away with %llu bytes; a new one begins\"", f->path,
                 (unsigned long long)start.length);
        f->length = 0;
    }
    if (size < f->length)
        return ERR_SET(
            e, STATUS_CORRUPT,
            "ingest.dead_letters=%s: has %llu bytes, the checkpoint says %llu: letters are missing; put the file "
            "back, or move what is left away and a new one begins",
            f->path, (unsigned long long)size, (unsigned long long)f->length);
    if (start.new_file) TRY(replace(f, f->length, e));
    TRY(cut(f, f->length, e));
    return there ? STATUS_OK : sync_folder(f, e);
}

enum status reject_file_open(struct reject_file **out, const char *path, struct reject_file_start start, struct err *e)
{
    *out = NULL;
    struct reject_file *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "dead letters: no memory for their file");
    f->fd = -1;
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    const enum status st = start_file(f, start, e);
    if (st == STATUS_OK)
        *out = f;
    else
        reject_file_close(f);
    return st;
}

void reject_file_close(struct reject_file *f)
{
    if (f == NULL) return;
    if (f->fd >= 0) (void)close(f->fd);
    buf_fini(&f->kept);
    mem_free(f);
}

static enum status write_out(struct reject_file *f, struct err *e)
{
    while (f->written < f->kept.n) {
        const ssize_t n = write(f->fd, f->kept.p + f->written, f->kept.n - f->written);
        if (n < 0 && errno != EINTR) return fault(f, "writing failed", errno, e);
        if (n > 0) f->written += (size_t)n;
    }
    return STATUS_OK;
}

struct buf *reject_file_line(struct reject_file *f)
{
    return &f->kept;
}

enum status reject_file_wrote(struct reject_file *f, struct err *e)
{
    TRY(buf_status(&f->kept, e));
    if (f->kept.n - f->written >= WRITE_BYTES) TRY(write_out(f, e));
    if (f->kept.n < KEPT_BYTES) return STATUS_OK;
    return ERR_SET(e, STATUS_FULL, "ingest.dead_letters=%s: %zu bytes wait for a checkpoint", f->path, f->kept.n);
}

enum status reject_file_sync(struct reject_file *f, uint64_t *length, struct err *e)
{
    TRY(write_out(f, e));
    if (f->written > 0 && fsync(f->fd) != 0) {
        const int number = errno;
        f->written = 0; /* a failed fsync may have dropped what it could not write: all of it goes again */
        TRY(cut(f, f->length, e));
        return fault(f, "not durable", number, e);
    }
    f->length += f->written;
    f->written = 0;
    buf_clear(&f->kept);
    *length = f->length;
    return STATUS_OK;
}
