/* file.c - see file.h. */
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 20 };

bool file_disk_full(int number)
{
    return number == ENOSPC || number == EDQUOT || number == EFBIG;
}

enum status file_failed(struct err *e, const char *name, const char *what, int number)
{
    if (file_disk_full(number))
        return ERR_SET(e, STATUS_FULL, "%s: cannot %s: %s; make room on the disk", name, what, strerror(number));
    return ERR_SET(e, number == ENOMEM ? STATUS_OOM : STATUS_IO, "%s: cannot %s: %s", name, what, strerror(number));
}

enum status file_open_dir(int *fd, int dir, const char *name, bool make, struct err *e)
{
    *fd = -1;
    if (make && mkdirat(dir, name, 0755) != 0 && errno != EEXIST) return file_failed(e, name, "be made", errno);
    *fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd >= 0 ? STATUS_OK : file_failed(e, name, "be opened", errno);
}

enum status file_sync_dir(int dir, const char *name, struct err *e)
{
    return fsync(dir) == 0 ? STATUS_OK : file_failed(e, name, "be synced", errno);
}

char *file_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? mem_strdup(".") : mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

enum status file_sync_parent(const char *path, struct err *e)
{
    char *dir = file_parent(path);
    if (dir == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", path);
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(dir);
    const enum status st =
        fd >= 0 && fsync(fd) == 0 ? STATUS_OK : file_failed(e, path, "have its folder synced", errno);
    if (fd >= 0) (void)close(fd);
    return st;
}

enum status file_write_all(int fd, const void *p, size_t n, const char *name, struct err *e)
{
    for (const unsigned char *at = p; n > 0;) {
        const ssize_t w = write(fd, at, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return file_failed(e, name, "be written", w == 0 ? ENOSPC : errno);
        at += w;
        n -= (size_t)w;
    }
    return STATUS_OK;
}

static enum status finish(int fd, enum status st, const char *name, struct err *e)
{
    if (st == STATUS_OK && fsync(fd) != 0) st = file_failed(e, name, "be synced", errno);
    if (close(fd) != 0 && st == STATUS_OK) st = file_failed(e, name, "be closed", errno);
    return st;
}

enum status file_write(int dir, const char *name, const void *p, size_t n, struct err *e)
{
    char tmp[NAME_MAX + 1];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp.%ld", name, (long)getpid()) >= sizeof tmp)
        return ERR_SET(e, STATUS_INVALID, "%.60s...: a name of %zu bytes is too long", name, strlen(name));
    const int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return file_failed(e, tmp, "be created", errno);
    enum status st = finish(fd, file_write_all(fd, p, n, tmp, e), tmp, e);
    if (st == STATUS_OK && renameat(dir, tmp, dir, name) != 0)
        st = file_failed(e, name, "be renamed into place", errno);
    if (st != STATUS_OK) {
        (void)unlinkat(dir, tmp, 0);
        return st;
    }
    return file_sync_dir(dir, "its folder", e);
}

/* Bytes `at` to n of `from`, appended to fd and, where there is one, to the hash. */
static enum status copy_rest(int from, uint64_t at, uint64_t n, int fd, struct hash_sha256 *h, const char *name,
                             const atomic_bool *stop, struct err *e)
{
    enum status st = STATUS_OK;
    unsigned char *chunk = mem_calloc(1, CHUNK_BYTES);
    if (chunk == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory to copy it", name);
    while (at < n && st == STATUS_OK) {
        if (stop != NULL && atomic_load(stop)) st = ERR_SET(e, STATUS_END, "%s: not copied, the job stops", name);
        if (st != STATUS_OK) break;
        const ssize_t got = pread(from, chunk, n - at < CHUNK_BYTES ? (size_t)(n - at) : CHUNK_BYTES, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) st = file_failed(e, name, "be read", errno);
        if (got == 0)
            st = ERR_SET(e, STATUS_CORRUPT, "%s ends after %llu of %llu bytes", name, (unsigned long long)at,
                         (unsigned long long)n);
        if (got <= 0) break;
        if (h != NULL) hash_sha256_add(h, chunk, (size_t)got);
        if (fd >= 0) st = file_write_all(fd, chunk, (size_t)got, name, e);
        at += (uint64_t)got;
    }
    mem_free(chunk);
    return st;
}

enum status file_copy(int from, uint64_t n, const void *head, size_t n_head, int dir, const char *name,
                      char hex[HASH_SHA256_HEX], const atomic_bool *stop, struct err *e)
{
    enum status st = STATUS_OK;
    struct hash_sha256 *h = NULL;
    if (hex != NULL) TRY(hash_sha256_new(&h, e));
    const int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        hash_sha256_free(h);
        return file_failed(e, name, "be created", errno);
    }
    if (n_head > 0) st = file_write_all(fd, head, n_head, name, e);
    if (h != NULL && n_head > 0) hash_sha256_add(h, head, n_head);
    if (st == STATUS_OK) st = copy_rest(from, n_head, n, fd, h, name, stop, e);
    st = finish(fd, st, name, e);
    if (h != NULL) hash_sha256_hex(h, hex);
    hash_sha256_free(h);
    if (st != STATUS_OK) (void)unlinkat(dir, name, 0);
    return st;
}

enum status file_copy_whole(int from_dir, const char *from, int dir, const char *name, struct err *e)
{
    struct stat info;
    const int fd = openat(from_dir, from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_SET(e, STATUS_NOT_FOUND, "%s is missing", from)
                               : file_failed(e, from, "be opened", errno);
    const enum status st = fstat(fd, &info) == 0
                               ? file_copy(fd, (uint64_t)info.st_size, NULL, 0, dir, name, NULL, NULL, e)
                               : file_failed(e, from, "be examined", errno);
    (void)close(fd);
    return st;
}

enum status file_sha256(int dir, const char *name, char hex[HASH_SHA256_HEX], struct err *e)
{
    struct stat info;
    struct hash_sha256 *h = NULL;
    enum status st;
    const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_SET(e, STATUS_NOT_FOUND, "%s is missing", name)
                               : file_failed(e, name, "be opened", errno);
    TRY_OUT(st, hash_sha256_new(&h, e));
    if (fstat(fd, &info) != 0) {
        st = file_failed(e, name, "be examined", errno);
        goto out;
    }
    TRY_OUT(st, copy_rest(fd, 0, (uint64_t)info.st_size, -1, h, name, NULL, e));
    hash_sha256_hex(h, hex);
out:
    hash_sha256_free(h);
    (void)close(fd);
    return st;
}

enum status file_renew(const char *path, uint64_t n, struct err *e)
{
    char tmp[PATH_MAX];
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? STATUS_OK : file_failed(e, path, "be opened", errno);
    enum status st = STATUS_OK;
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid()) >= sizeof tmp)
        st = ERR_SET(e, STATUS_INVALID, "%.60s...: a path of %zu bytes is too long", path, strlen(path));
    else if (fstat(fd, &info) != 0)
        st = file_failed(e, path, "be examined", errno);
    if (st == STATUS_OK) {
        const uint64_t size = (uint64_t)info.st_size;
        st = file_copy(fd, n < size ? n : size, NULL, 0, AT_FDCWD, tmp, NULL, NULL, e);
    }
    if (st == STATUS_OK && rename(tmp, path) != 0) {
        st = file_failed(e, path, "be replaced", errno);
        (void)unlink(tmp);
    }
    (void)close(fd);
    return st;
}

DIR *file_list(int dir)
{
    const int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const int number = errno;
    if (d == NULL && fd >= 0) (void)close(fd);
    errno = number;
    return d;
}

const char *file_next(DIR *d)
{
    const struct dirent *f = d != NULL ? readdir(d) : NULL;
    while (f != NULL && (strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0)) f = readdir(d);
    return f != NULL ? f->d_name : NULL;
}

void file_list_end(DIR *d)
{
    if (d != NULL) (void)closedir(d);
}

void file_remove(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || (errno != EISDIR && errno != EPERM)) return;
    const int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? file_list(fd) : NULL;
    for (const char *in; (in = file_next(d)) != NULL;) file_remove(fd, in);
    file_list_end(d);
    if (fd >= 0) (void)close(fd);
    if (d != NULL) (void)unlinkat(dir, name, AT_REMOVEDIR);
}
