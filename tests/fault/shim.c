/* shim.c - a library to preload: makes the n-th durable step of a program fail.
 *
 * A step is a call of write, writev, pwrite, pwritev, fsync, fdatasync, msync, rename(at, at2), ftruncate, unlink(at), link(at),
 * mkdir(at) or creating open(at) on something below SHIM_UNDER (all that liblmdb imports to write with is among them).
 *   SHIM_UNDER   the folder; other calls are not counted
 *   SHIM_AT      which step fails, from 1; 0 or absent: none
 *   SHIM_MODE    EIO | ENOSPC   the step fails so, and is not done
 *                full           it and every later one that needs room fails with ENOSPC
 *                torn           a write is done by half and says so; another step fails with EIO
 *                before | after the process is killed (SIGKILL) just before or just after the step is done
 *                tornkill       a write is done by half, then the process is killed
 *   SHIM_COUNT   a file to which the number of steps is written at each step (to know how many there are)
 * Steps of child processes are counted by themselves: a child that writes nothing does not disturb.
 */
#undef _FILE_OFFSET_BITS /* both names of each call are wanted: liblmdb imports one, the program the other */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { MODE_EIO, MODE_ENOSPC, MODE_FULL, MODE_TORN, MODE_BEFORE, MODE_AFTER, MODE_TORNKILL };
static const char *const mode_names[] = {"EIO", "ENOSPC", "full", "torn", "before", "after", "tornkill"};

static atomic_long steps;
static long fail_at;
static enum mode mode;
static char under[PATH_MAX];
static size_t n_under;
static int count_fd = -1;

#define REAL(name)                                                                                                     \
    static __typeof__(&name) real;                                                                                     \
    if (real == NULL) real = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name)

static __attribute__((constructor)) void begin(void)
{
    const char *dir = getenv("SHIM_UNDER"), *at = getenv("SHIM_AT"), *how = getenv("SHIM_MODE"),
               *count = getenv("SHIM_COUNT");
    if (dir != NULL && realpath(dir, under) != NULL) n_under = strlen(under);
    fail_at = at != NULL ? strtol(at, NULL, 10) : 0;
    for (size_t i = 0; how != NULL && i < sizeof mode_names / sizeof *mode_names; i++)
        if (strcmp(how, mode_names[i]) == 0) mode = (enum mode)i;
    if (count != NULL) count_fd = open(count, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644); // NOLINT: not below
}

static bool below(const char *path)
{
    return n_under > 0 && strncmp(path, under, n_under) == 0 && (path[n_under] == '/' || path[n_under] == 0);
}

static bool fd_below(int fd)
{
    char link[64], path[PATH_MAX];
    if (n_under == 0) return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = 0;
    return below(path);
}

static bool path_below(int dir, const char *path)
{
    if (n_under == 0) return false;
    if (path[0] == '/') return below(path);
    if (dir != AT_FDCWD) return fd_below(dir);
    char cwd[PATH_MAX];
    return getcwd(cwd, sizeof cwd) != NULL && below(cwd);
}

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;) (void)pause();
}

enum verdict { DO, FAIL, HALF, DO_THEN_DIE };

/* What becomes of this step; FAIL has set errno. */
static enum verdict step(bool is_write, bool needs_room)
{
    const long n = atomic_fetch_add(&steps, 1) + 1;
    if (count_fd >= 0) {
        char text[24];
        REAL(pwrite);
        const int k = snprintf(text, sizeof text, "%ld\n", n);
        (void)real(count_fd, text, (size_t)k, 0);
    }
    if (fail_at == 0 || n < fail_at || (n > fail_at && mode != MODE_FULL)) return DO;
    switch (mode) {
    case MODE_EIO: errno = EIO; return FAIL;
    case MODE_ENOSPC: errno = ENOSPC; return FAIL;
    case MODE_FULL:
        if (!needs_room) return DO;
        errno = ENOSPC;
        return FAIL;
    case MODE_TORN:
        if (is_write) return HALF;
        errno = EIO;
        return FAIL;
    case MODE_BEFORE: die(); break;
    case MODE_AFTER: return DO_THEN_DIE;
    case MODE_TORNKILL:
        if (!is_write) die();
        return HALF;
    }
    return DO;
}

/* Runs the real call, as the verdict says. */
#define STEP(counted, needs_room, failed, call)                                                                        \
    do {                                                                                                               \
        const enum verdict v_ = (counted) ? step(false, needs_room) : DO;                                              \
        if (v_ == FAIL) return failed;                                                                                 \
        const __typeof__(call) r_ = (call);                                                                            \
        if (v_ == DO_THEN_DIE) die();                                                                                  \
        return r_;                                                                                                     \
    } while (0)

#define WRITE_STEP(counted, n, whole, half)                                                                            \
    do {                                                                                                               \
        const enum verdict v_ = (counted) ? step(true, true) : DO;                                                     \
        if (v_ == FAIL) return -1;                                                                                     \
        const ssize_t r_ = v_ == HALF ? (half) : (whole);                                                              \
        if (v_ == DO_THEN_DIE || (v_ == HALF && mode == MODE_TORNKILL)) die();                                         \
        return r_;                                                                                                     \
    } while (0)

ssize_t write(int fd, const void *p, size_t n)
{
    REAL(write);
    WRITE_STEP(fd_below(fd), n, real(fd, p, n), real(fd, p, n / 2));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    REAL(pwrite);
    WRITE_STEP(fd_below(fd), n, real(fd, p, n, at), real(fd, p, n / 2, at));
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    REAL(pwrite64);
    WRITE_STEP(fd_below(fd), n, real(fd, p, n, at), real(fd, p, n / 2, at));
}

/* Half of a vector: its first element, by half. */
ssize_t writev(int fd, const struct iovec *v, int n)
{
    REAL(writev);
    struct iovec half = v[0];
    half.iov_len /= 2;
    WRITE_STEP(fd_below(fd), n, real(fd, v, n), real(fd, &half, 1));
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    REAL(pwritev);
    struct iovec half = v[0];
    half.iov_len /= 2;
    WRITE_STEP(fd_below(fd), n, real(fd, v, n, at), real(fd, &half, 1, at));
}

int fsync(int fd)
{
    REAL(fsync);
    STEP(fd_below(fd), false, -1, real(fd));
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    STEP(fd_below(fd), false, -1, real(fd));
}

int msync(void *p, size_t n, int flags)
{
    REAL(msync);
    STEP(true, false, -1, real(p, n, flags));
}

int ftruncate(int fd, off_t n)
{
    REAL(ftruncate);
    STEP(fd_below(fd), true, -1, real(fd, n));
}

int ftruncate64(int fd, off_t n)
{
    REAL(ftruncate64);
    STEP(fd_below(fd), true, -1, real(fd, n));
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    STEP(path_below(AT_FDCWD, to), true, -1, real(from, to));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(renameat);
    STEP(path_below(to_dir, to), true, -1, real(from_dir, from, to_dir, to));
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    REAL(renameat2);
    STEP(path_below(to_dir, to), true, -1, real(from_dir, from, to_dir, to, flags));
}

int unlink(const char *path)
{
    REAL(unlink);
    STEP(path_below(AT_FDCWD, path), false, -1, real(path));
}

int unlinkat(int dir, const char *path, int flags)
{
    REAL(unlinkat);
    STEP(path_below(dir, path), false, -1, real(dir, path, flags));
}

int link(const char *from, const char *to)
{
    REAL(link);
    STEP(path_below(AT_FDCWD, to), true, -1, real(from, to));
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    REAL(linkat);
    STEP(path_below(to_dir, to), true, -1, real(from_dir, from, to_dir, to, flags));
}

int mkdir(const char *path, mode_t rights)
{
    REAL(mkdir);
    STEP(path_below(AT_FDCWD, path), true, -1, real(path, rights));
}

int mkdirat(int dir, const char *path, mode_t rights)
{
    REAL(mkdirat);
    STEP(path_below(dir, path), true, -1, real(dir, path, rights));
}

/* Only a call that may make a file is a step. */
static mode_t rights_of(int flags, va_list ap)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list ap;
    va_start(ap, flags);
    const mode_t rights = rights_of(flags, ap);
    va_end(ap);
    STEP((flags & O_CREAT) != 0 && path_below(AT_FDCWD, path), true, -1, real(path, flags, rights));
}

int openat(int dir, const char *path, int flags, ...)
{
    REAL(openat);
    va_list ap;
    va_start(ap, flags);
    const mode_t rights = rights_of(flags, ap);
    va_end(ap);
    STEP((flags & O_CREAT) != 0 && path_below(dir, path), true, -1, real(dir, path, flags, rights));
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list ap;
    va_start(ap, flags);
    const mode_t rights = rights_of(flags, ap);
    va_end(ap);
    STEP((flags & O_CREAT) != 0 && path_below(AT_FDCWD, path), true, -1, real(path, flags, rights));
}

int openat64(int dir, const char *path, int flags, ...)
{
    REAL(openat64);
    va_list ap;
    va_start(ap, flags);
    const mode_t rights = rights_of(flags, ap);
    va_end(ap);
    STEP((flags & O_CREAT) != 0 && path_below(dir, path), true, -1, real(dir, path, flags, rights));
}
