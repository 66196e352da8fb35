/* checkpoint_backup.c - see checkpoint_backup.h.  What is copied is fixed on the learner's thread, in no time: the store's
 * newest state, whose pages LMDB leaves alone for two more commits (checkpoint_backup_wait_for), and a weight file that never
 * changes.  The copying is done on a thread of its own. */
#include "job/checkpoint_backup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/store_verify.h"
#include "job/checkpoint_private.h"
#include "job/checkpoint_verify.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SUMS_MAX = 4096, NAME_ROOM = 40, COMMITS_SAFE = 2, PATIENCE_MS = 1000 };

struct backup {
    pthread_t thread;
    atomic_bool done, stop;
    const struct store_lock *lock; /* the folder's */
    struct store_copy copy;
    int folder; /* backup/ */
    struct weight_file {
        char name[CHECKPOINT_FILE_NAME];
        int fd;
        uint64_t bytes;
    } files[CONF_LINES_MAX]; /* the version's, in order of their names */
    size_t n_files;
    uint64_t version;
    size_t keep;
    char dir[CHECKPOINT_PATH];
    enum status status;
    struct err error;
};

/* ---- which there are ---- */

static int newer_first(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : -(x > y);
}

static size_t list(int folder, uint64_t out[CHECKPOINT_BACKUPS_MAX])
{
    size_t n = 0;
    DIR *d = file_list(folder);
    for (const char *name; n < CHECKPOINT_BACKUPS_MAX && (name = file_next(d)) != NULL;) {
        char *end;
        const unsigned long long v = strtoull(name, &end, 10);
        if (name[0] >= '0' && name[0] <= '9' && *end == 0) out[n++] = v;
    }
    file_list_end(d);
    qsort(out, n, sizeof *out, newer_first);
    return n;
}

size_t checkpoint_backups(const char *dir, uint64_t out[CHECKPOINT_BACKUPS_MAX])
{
    char path[CHECKPOINT_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/backup", dir);
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0;
    const size_t n = list(fd, out);
    (void)close(fd);
    return n;
}

/* ---- is one sound? ---- */

static int add_sum(char out[SUMS_MAX], int at, const char *hex, const char *folder, const char *name)
{
    return at + snprintf(out + at, SUMS_MAX - (size_t)at, "%s  %s%s\n", hex, folder, name);
}

/* The file holds exactly these sums. */
static enum status same_sums(int fd, const char *want, int n, struct err *e)
{
    char text[SUMS_MAX];
    const int file = openat(fd, "SHA256SUMS", O_RDONLY | O_CLOEXEC);
    if (file < 0) return ERR_SET(e, STATUS_CORRUPT, "SHA256SUMS: %s", strerror(errno));
    const ssize_t got = read(file, text, sizeof text);
    (void)close(file);
    if (got == n && memcmp(text, want, (size_t)n) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "its files do not have the sums of SHA256SUMS");
}

static enum status check_sums(int fd, uint64_t version, struct err *e)
{
    char names[CONF_LINES_MAX][CHECKPOINT_FILE_NAME], hex[HASH_SHA256_HEX], want[SUMS_MAX];
    int weights = -1, at = 0;
    TRY(file_sha256(fd, "state.mdb", hex, e));
    at = add_sum(want, at, hex, "", "state.mdb");
    TRY(file_open_dir(&weights, fd, "weights", false, e));
    const size_t n = checkpoint_files_of(weights, version, names);
    enum status st = n > 0 ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "no weight file");
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        st = file_sha256(weights, names[i], hex, e);
        if (st == STATUS_OK) at = add_sum(want, at, hex, "weights/", names[i]);
    }
    (void)close(weights);
    return st == STATUS_OK ? same_sums(fd, want, at, e) : st;
}

enum status checkpoint_backup_verify(const char *dir, uint64_t version, int drop_fd, struct err *e)
{
    char path[CHECKPOINT_PATH + 48];
    struct checkpoint_verdict v;
    (void)snprintf(path, sizeof path, "%s/backup/%llu", dir, (unsigned long long)version);
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return file_failed(e, path, "be opened", errno);
    enum status st = check_sums(fd, version, e);
    (void)close(fd);
    if (st == STATUS_NOT_FOUND) st = STATUS_CORRUPT;
    if (st == STATUS_OK) st = checkpoint_verify(&v, path, drop_fd, e);
    if (st == STATUS_OK && v.version != version)
        st = ERR_SET(e, STATUS_CORRUPT, "it holds version %llu", (unsigned long long)v.version);
    return st;
}

/* ---- making one ---- */

static enum status write_files(const struct backup *b, int fd, int weights, struct err *e)
{
    char hex[HASH_SHA256_HEX], sums[SUMS_MAX];
    TRY(store_copy_write(&b->copy, fd, "state.mdb", hex, &b->stop, e));
    int n = add_sum(sums, 0, hex, "", "state.mdb");
    for (size_t i = 0; i < b->n_files; i++) {
        const struct weight_file *f = &b->files[i];
        TRY(file_copy(f->fd, f->bytes, NULL, 0, weights, f->name, hex, &b->stop, e));
        n = add_sum(sums, n, hex, "weights/", f->name);
    }
    TRY(file_sync_dir(weights, "weights", e));
    return file_write(fd, "SHA256SUMS", sums, (size_t)n, e);
}

/* What was written, read again: sums, pages and records. */
static enum status read_back(const struct backup *b, int fd, struct err *e)
{
    struct store_verified s;
    TRY(check_sums(fd, b->version, e));
    return store_verify(fd, "state.mdb", NULL, NULL, &s, e);
}

static enum status fill(const struct backup *b, const char *tmp, struct err *e)
{
    int fd = -1, weights = -1;
    enum status st;
    TRY_OUT(st, file_open_dir(&fd, b->folder, tmp, true, e));
    TRY_OUT(st, file_open_dir(&weights, fd, "weights", true, e));
    TRY_OUT(st, write_files(b, fd, weights, e));
    TRY_OUT(st, read_back(b, fd, e));
    st = file_sync_dir(fd, tmp, e);
out:
    if (weights >= 0) (void)close(weights);
    if (fd >= 0) (void)close(fd);
    return st;
}

static void drop_old(const struct backup *b)
{
    uint64_t versions[CHECKPOINT_BACKUPS_MAX];
    char name[NAME_ROOM];
    const size_t n = list(b->folder, versions);
    for (size_t i = b->keep; i < n; i++) {
        (void)snprintf(name, sizeof name, "%llu", (unsigned long long)versions[i]);
        file_remove(b->folder, name);
    }
}

static enum status make(const struct backup *b, struct err *e)
{
    char tmp[NAME_ROOM], name[NAME_ROOM];
    (void)snprintf(tmp, sizeof tmp, ".tmp-%llu", (unsigned long long)b->version);
    (void)snprintf(name, sizeof name, "%llu", (unsigned long long)b->version);
    file_remove(b->folder, tmp);
    enum status st = fill(b, tmp, e);
    if (st == STATUS_OK) st = store_lock_check(b->lock, e);
    if (st == STATUS_OK && renameat(b->folder, tmp, b->folder, name) != 0)
        st = file_failed(e, name, "be renamed into place", errno);
    if (st == STATUS_OK) st = file_sync_dir(b->folder, "backup", e);
    if (st == STATUS_OK)
        drop_old(b);
    else
        file_remove(b->folder, tmp);
    return st;
}

static void *run(void *arg)
{
    struct backup *b = arg;
    struct clock *c = clock_system();
    const int64_t start = c->mono_us(c);
    b->status = make(b, &b->error);
    uint64_t bytes = b->copy.bytes;
    for (size_t i = 0; i < b->n_files; i++) bytes += b->files[i].bytes;
    const double mib = (double)bytes / 0x1p20;
    if (b->status == STATUS_OK)
        log_info("backup", "done=%s/backup/%llu mib=%.1f ms=%lld", b->dir, (unsigned long long)b->version, mib,
                 (long long)(c->mono_us(c) - start) / 1000);
    else if (b->status != STATUS_END)
        log_error("backup", "failed=%s/backup/%llu error=\"%s\"", b->dir, (unsigned long long)b->version,
                  b->error.text);
    atomic_store(&b->done, true);
    return NULL;
}

static void backup_free(struct backup *b)
{
    if (b == NULL) return;
    store_copy_end(&b->copy);
    while (b->n_files > 0) (void)close(b->files[--b->n_files].fd);
    mem_free(b);
}

/* Waits for the one under way and keeps what came of it. */
static void join(struct checkpoint *cp)
{
    if (cp->backup == NULL) return;
    (void)pthread_join(cp->backup->thread, NULL);
    cp->backup_status = cp->backup->status;
    cp->backup_error = cp->backup->error;
    backup_free(cp->backup);
    cp->backup = NULL;
}

static enum status last_result(struct checkpoint *cp, struct err *e)
{
    const enum status st = cp->backup_status;
    cp->backup_status = STATUS_OK;
    return st == STATUS_OK ? st : ERR_SET(e, st, "%s", cp->backup_error.text);
}

enum status checkpoint_backup_wait(struct checkpoint *cp, struct err *e)
{
    join(cp);
    return last_result(cp, e);
}

void checkpoint_backup_stop(struct checkpoint *cp)
{
    for (int i = 0; i < PATIENCE_MS && cp->backup != NULL && !atomic_load(&cp->backup->done); i++)
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    if (cp->backup != NULL) atomic_store(&cp->backup->stop, true);
    join(cp);
}

void checkpoint_backup_before_commit(struct checkpoint *cp)
{
    if (cp->backup != NULL && cp->txnid + 1 > cp->backup->copy.pages.txnid + COMMITS_SAFE) join(cp);
}

static enum status open_file(struct backup *b, const struct checkpoint *cp, const char *name, struct err *e)
{
    struct stat info;
    struct weight_file *f = &b->files[b->n_files];
    f->fd = openat(cp->weights_fd, name, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0) return file_failed(e, name, "be opened", errno);
    b->n_files++;
    if (fstat(f->fd, &info) != 0) return file_failed(e, name, "be looked at", errno);
    memcpy(f->name, name, strlen(name) + 1);
    f->bytes = (uint64_t)info.st_size;
    return STATUS_OK;
}

static enum status begin(struct backup *b, const struct checkpoint *cp, struct err *e)
{
    char names[CONF_LINES_MAX][CHECKPOINT_FILE_NAME];
    TRY(store_copy_begin(&b->copy, cp->dir_fd, "state.mdb", e));
    if (b->copy.pages.txnid != cp->txnid)
        return ERR_SET(e, STATUS_CONFLICT, "state folder %s: state.mdb is not the one that was written to", cp->dir);
    const size_t n = checkpoint_files_of(cp->weights_fd, cp->version, names);
    if (n == 0) return ERR_SET(e, STATUS_IO, "weights/%llu is gone", (unsigned long long)cp->version);
    for (size_t i = 0; i < n; i++) TRY(open_file(b, cp, names[i], e));
    const int rc = pthread_create(&b->thread, NULL, run, b);
    return rc == 0 ? STATUS_OK : ERR_SET(e, STATUS_IO, "no thread for a backup: %s", strerror(rc));
}

enum status checkpoint_backup(struct checkpoint *cp, struct err *e)
{
    char name[NAME_ROOM];
    struct stat info;
    if (cp->backup != NULL && !atomic_load(&cp->backup->done)) return STATUS_OK;
    join(cp);
    TRY(last_result(cp, e));
    TRY(checkpoint_fenced(cp, e));
    (void)snprintf(name, sizeof name, "%llu", (unsigned long long)cp->version);
    if (cp->version == 0 || cp->unfinished || fstatat(cp->backup_fd, name, &info, 0) == 0)
        return STATUS_OK; /* nothing new */
    struct backup *b = mem_calloc(1, sizeof *b);
    if (b == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a backup");
    b->copy.fd = -1;
    b->lock = &cp->lock;
    b->folder = cp->backup_fd;
    b->version = cp->version;
    b->keep = (size_t)cp->conf->state_backup_keep;
    (void)snprintf(b->dir, sizeof b->dir, "%s", cp->dir);
    const enum status st = begin(b, cp, e);
    if (st == STATUS_OK)
        cp->backup = b;
    else
        backup_free(b);
    return st;
}
