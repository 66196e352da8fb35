/* store_lock.c - see store_lock.h. */
#include "base/store_lock.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 400, TRIES = 100, NAP_MS = 20 };

/* "<pid> <host> <epoch> held|pending"; a file of the first format holds the pid alone. */
struct owner {
    long pid;
    char host[256];
    unsigned long long epoch;
    bool pending;
};

static void read_owner(int fd, struct owner *o)
{
    char text[TEXT_MAX + 1] = "", state[16] = "";
    *o = (struct owner){.host = "?"};
    const ssize_t n = pread(fd, text, TEXT_MAX, 0);
    if (n <= 0) return;
    (void)sscanf(text, "%ld %255s %llu %15s", &o->pid, o->host, &o->epoch, state);
    o->pending = strcmp(state, "pending") == 0;
}

static enum status write_owner(const struct store_lock *l, int fd, const char *state, struct err *e)
{
    char text[TEXT_MAX], host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == 0) memcpy(host, "?", 2);
    const int n =
        snprintf(text, sizeof text, "%ld %s %llu %s\n", (long)getpid(), host, (unsigned long long)l->epoch, state);
    /* written over what is there: on a full disk the owner before stays readable */
    if (pwrite(fd, text, (size_t)n, 0) == n && ftruncate(fd, n) == 0) return STATUS_OK;
    return file_failed(e, l->dir, "be marked as ours (its lock file)", errno);
}

static enum status held_by(const char *dir, int fd, struct err *e)
{
    struct owner o;
    read_owner(fd, &o);
    return ERR_SET(e, STATUS_CONFLICT,
                   "store %s: in use by process %ld on host %s (epoch %llu); stop it, or set another state.dir", dir,
                   o.pid, o.host, o.epoch);
}

/* Its owner died, but a child that it had just made has not run yet: the lock is free as soon as that one does. */
static bool outlived(int fd)
{
    struct owner o;
    char host[256] = "";
    read_owner(fd, &o);
    return o.pid > 0 && gethostname(host, sizeof host - 1) == 0 && strcmp(host, o.host) == 0 &&
           kill((pid_t)o.pid, 0) != 0 && errno == ESRCH;
}

/* Is fd still the file that has the name `lock`? */
static bool is_lock(const char *path, int fd, struct stat *mine)
{
    struct stat there;
    return fstat(fd, mine) == 0 && stat(path, &there) == 0 && there.st_ino == mine->st_ino &&
           there.st_dev == mine->st_dev;
}

/* A lock of our own beside the held one, then over it: an owner that dies in between leaves the old one in force. */
static enum status replace(struct store_lock *l, const char *path, struct err *e)
{
    char tmp[PATH_MAX];
    enum status st = STATUS_OK;
    (void)snprintf(tmp, sizeof tmp, "%s/lock.%ld", l->dir, (long)getpid());
    const int fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return file_failed(e, tmp, "be created", errno);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) st = file_failed(e, tmp, "be locked", errno);
    if (st == STATUS_OK) st = write_owner(l, fd, "pending", e);
    if (st == STATUS_OK && fsync(fd) != 0) st = file_failed(e, tmp, "be synced", errno);
    if (st == STATUS_OK && rename(tmp, path) != 0) st = file_failed(e, path, "be replaced", errno);
    if (st != STATUS_OK) {
        (void)unlink(tmp);
        (void)close(fd);
        return st;
    }
    l->fd = fd;
    l->pending = true;
    return STATUS_OK;
}

/* The lock is free and ours; AGAIN when it is no longer the file of its name (a take-over came between). */
static enum status settle(struct store_lock *l, const char *path, int fd, struct err *e)
{
    struct owner before;
    struct stat mine;
    if (!is_lock(path, fd, &mine)) return ERR_SET(e, STATUS_AGAIN, "store %s: its lock file was replaced", l->dir);
    read_owner(fd, &before);
    l->pending = before.pending; /* it died while it took the folder over: the one before it may still be there */
    return write_owner(l, fd, l->pending ? "pending" : "held", e);
}

static enum status try_once(struct store_lock *l, const char *path, bool take_over, struct err *e)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        if (errno == ENOENT) return ERR_SET(e, STATUS_NOT_FOUND, "store %s: no such folder", l->dir);
        if (errno == EACCES || errno == EPERM || errno == EROFS)
            return ERR_SET(e, STATUS_IO,
                           "store %s: its lock file can't be written: %s; who runs this must own the folder and may "
                           "read and write its files",
                           l->dir, strerror(errno));
        return file_failed(e, path, "be opened", errno);
    }
    enum status st = STATUS_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        st = settle(l, path, fd, e);
    else if (errno != EWOULDBLOCK)
        st = ERR_SET(e, STATUS_IO, "store %s: flock: %s (no network file systems)", l->dir, strerror(errno));
    else if (take_over)
        st = replace(l, path, e);
    else if (outlived(fd)) {
        (void)nanosleep(&(struct timespec){0, NAP_MS * 1000000l}, NULL);
        st = STATUS_AGAIN;
    } else
        st = held_by(l->dir, fd, e);
    if (st == STATUS_OK && l->fd < 0)
        l->fd = fd;
    else
        (void)close(fd);
    return st;
}

enum status store_lock_take(struct store_lock *l, const char *dir, bool take_over, uint64_t epoch, struct err *e)
{
    char path[PATH_MAX];
    struct stat mine;
    enum status st = STATUS_AGAIN;
    *l = (struct store_lock){.fd = -1, .epoch = epoch};
    if ((size_t)snprintf(path, sizeof path - 32, "%s/lock", dir) >= sizeof path - 32)
        return ERR_SET(e, STATUS_INVALID, "store: path of %zu bytes is too long", strlen(dir));
    l->dir = mem_strdup(dir);
    if (l->dir == NULL) return ERR_SET(e, STATUS_OOM, "store %s: out of memory", dir);
    for (int i = 0; i < TRIES && st == STATUS_AGAIN; i++) st = try_once(l, path, take_over, e);
    if (st == STATUS_OK && fstat(l->fd, &mine) != 0) st = file_failed(e, path, "be examined", errno);
    if (st != STATUS_OK) {
        store_lock_release(l);
        if (st != STATUS_AGAIN) return st;
        return ERR_SET(e, STATUS_CONFLICT,
                       "store %s: its lock changes hands again and again, or a child of a process that died holds it",
                       dir);
    }
    l->dev = mine.st_dev;
    l->ino = mine.st_ino;
    return STATUS_OK;
}

enum status store_lock_settled(struct store_lock *l, struct err *e)
{
    if (!l->pending) return STATUS_OK;
    TRY(write_owner(l, l->fd, "held", e));
    l->pending = false;
    return STATUS_OK;
}

enum status store_lock_check(const struct store_lock *l, struct err *e)
{
    char path[PATH_MAX];
    struct stat there;
    struct owner o = {.host = "?"};
    (void)snprintf(path, sizeof path, "%s/lock", l->dir);
    if (stat(path, &there) == 0 && there.st_ino == l->ino && there.st_dev == l->dev) return STATUS_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_SET(e, STATUS_CONFLICT,
                       "state folder %s: its lock file is gone (%s): the folder was moved or removed; nothing more is "
                       "written to it",
                       l->dir, strerror(errno));
    read_owner(fd, &o);
    (void)close(fd);
    return ERR_SET(e, STATUS_CONFLICT,
                   "state folder %s was taken over by process %ld on host %s (epoch %llu); this process (epoch %llu) "
                   "is fenced and writes nothing more",
                   l->dir, o.pid, o.host, o.epoch, (unsigned long long)l->epoch);
}

void store_lock_release(struct store_lock *l)
{
    if (l->dir != NULL && l->fd >= 0) (void)close(l->fd);
    mem_free(l->dir);
    *l = (struct store_lock){.fd = -1};
}
