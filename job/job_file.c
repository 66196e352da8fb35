/* job_file.c - see job_file.h. */
#include "job/job_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum status failed(const char *path, struct err *e)
{
    return ERR_SET(e, STATUS_IO, "report can't be written to %s: %s", path, strerror(errno));
}

enum status job_file_check(const char *path, struct err *e)
{
    if (path == NULL || strcmp(path, "-") == 0) return STATUS_OK;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool is_new = fd < 0 && errno == ENOENT;
    if (is_new) fd = open(path, O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
    if (fd < 0) return failed(path, e);
    if (is_new) (void)unlink(path);
    (void)close(fd);
    return STATUS_OK;
}

enum status job_file_write(const char *path, const struct buf *b, struct err *e)
{
    enum status st = STATUS_OK;
    TRY(buf_status(b, e));
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (f == NULL) return failed(path, e);
    if (fwrite(b->p, 1, b->n, f) != b->n) st = failed(path, e);
    if ((f == stdout ? fflush(f) : fclose(f)) != 0 && st == STATUS_OK) st = failed(path, e);
    return st;
}
