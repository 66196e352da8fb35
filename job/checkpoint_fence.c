/* checkpoint_fence.c - nothing that the old owner still does reaches the folder.
 *
 * An owner that was stopped keeps its descriptors and may wake between any two of its system calls.  It writes through five
 * things, and each has another inode afterwards:
 *   lock            replaced first (base/store_lock.h): from here on its own checks say CONFLICT
 *   state.mdb       LMDB's descriptor and map; ours is a verified copy of the newest committed state, renamed over
 *   state.mdb-lock  with LMDB's writer mutex, which a stopped process may hold; removed, LMDB makes another
 *   weights/        the owner works through a descriptor of the folder (openat, renameat, unlinkat): ours is a new folder with
 *                   hard links to the files, exchanged by one rename; no file in it is ever written in place
 *   backup/         the same, one level deeper
 * and the dead-letter file by file_renew.  Whatever it had committed before its stop is in the copy; a commit that it finishes
 * while or after we copy is in ours or is not, whole either way, and its checkpoint is never published: checkpoint_write looks
 * at the lock again before it returns.  It never opens one of these by name again without a check of lock or inode; the only
 * renames by name are those of a folder's opening, each right after a check.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/store_verify.h"
#include "job/checkpoint_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 5 };
static const char copy_name[] = "state.mdb.take";

/* A copy that a commit overtook does not add up: again.  A store that is damaged is taken as it is. */
static enum status copy_once(const struct checkpoint *cp, struct err *e)
{
    struct store_copy c;
    struct store_verified v;
    TRY(store_copy_begin(&c, cp->dir_fd, "state.mdb", e));
    enum status st = store_copy_write(&c, cp->dir_fd, copy_name, NULL, NULL, e);
    store_copy_end(&c);
    return st == STATUS_OK ? store_verify(cp->dir_fd, copy_name, NULL, NULL, &v, e) : st;
}

static enum status renew_store(const struct checkpoint *cp, struct err *e)
{
    enum status st = STATUS_CORRUPT;
    for (int i = 0; i < TRIES && st == STATUS_CORRUPT; i++) st = copy_once(cp, e);
    if (st == STATUS_CORRUPT || st == STATUS_UNSUPPORTED)
        st = file_copy_whole(cp->dir_fd, "state.mdb", cp->dir_fd, copy_name, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK; /* a folder that was never used */
    TRY(st);
    TRY(store_lock_check(&cp->lock, e));
    (void)unlinkat(cp->dir_fd, "state.mdb-lock", 0); /* before the store: a reader must not find the old one's */
    if (renameat(cp->dir_fd, copy_name, cp->dir_fd, "state.mdb") != 0)
        return file_failed(e, "state.mdb", "be replaced", errno);
    return STATUS_OK;
}

static enum status link_all(int from, int to, const char *but, struct err *e);

static enum status link_folder(int from, int to, const char *name, struct err *e)
{
    int in = -1, out = -1;
    enum status st = file_open_dir(&in, from, name, false, e);
    if (st == STATUS_OK) st = file_open_dir(&out, to, name, true, e);
    if (st == STATUS_OK) st = link_all(in, out, "", e);
    if (st == STATUS_OK) st = file_sync_dir(out, name, e);
    if (in >= 0) (void)close(in);
    if (out >= 0) (void)close(out);
    return st;
}

/* Hard links to everything in `from`, folders one level down too, but not to what is unfinished. */
static enum status link_all(int from, int to, const char *but, struct err *e)
{
    enum status st = STATUS_OK;
    DIR *d = file_list(from);
    if (d == NULL) return file_failed(e, "a folder", "be read", errno);
    for (const char *name; st == STATUS_OK && (name = file_next(d)) != NULL;) {
        struct stat info;
        if (name[0] == '.' || strstr(name, ".tmp.") != NULL || strcmp(name, but) == 0) continue;
        if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue; /* gone meanwhile */
        if (S_ISDIR(info.st_mode))
            st = link_folder(from, to, name, e);
        else if (linkat(from, name, to, name, 0) != 0 && errno != ENOENT)
            st = file_failed(e, name, "be linked", errno);
    }
    file_list_end(d);
    return st;
}

/* The folder under another inode; newest: written into it (NULL: none). */
static enum status renew_folder(const struct checkpoint *cp, const char *name, const struct checkpoint_newest *newest,
                                struct err *e)
{
    char tmp[40];
    int from = -1, to = -1;
    enum status st;
    (void)snprintf(tmp, sizeof tmp, "%s.take", name);
    file_remove(cp->dir_fd, tmp);
    TRY(file_open_dir(&from, cp->dir_fd, name, true, e));
    TRY_OUT(st, file_open_dir(&to, cp->dir_fd, tmp, true, e));
    TRY_OUT(st, link_all(from, to, "newest", e));
    if (newest != NULL && newest->there) TRY_OUT(st, checkpoint_newest_write(to, newest, e));
    TRY_OUT(st, file_sync_dir(to, tmp, e));
    TRY_OUT(st, store_lock_check(&cp->lock, e));
    if (renameat2(cp->dir_fd, tmp, cp->dir_fd, name, RENAME_EXCHANGE) != 0)
        st = file_failed(e, name, "be exchanged", errno);
    file_remove(cp->dir_fd, tmp); /* the old one's; what it still makes there ends with it */
out:
    if (from >= 0) (void)close(from);
    if (to >= 0) (void)close(to);
    return st;
}

enum status checkpoint_fence(struct checkpoint *cp, struct err *e)
{
    struct checkpoint_newest newest = {0};
    if (!cp->lock.pending) return STATUS_OK;
    const int weights = openat(cp->dir_fd, "weights", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (weights >= 0) checkpoint_newest_read(weights, &newest); /* before the store: never ahead of our copy */
    if (weights >= 0) (void)close(weights);
    TRY(renew_store(cp, e));
    TRY(renew_folder(cp, "weights", &newest, e));
    TRY(renew_folder(cp, "backup", NULL, e));
    TRY(file_sync_dir(cp->dir_fd, cp->dir, e));
    TRY(store_lock_settled(&cp->lock, e));
    log_warn("state", "taken_over=%s epoch=%llu", cp->dir, (unsigned long long)cp->lock.epoch);
    return STATUS_OK;
}

enum status checkpoint_fenced(const struct checkpoint *cp, struct err *e)
{
    return store_lock_check(&cp->lock, e);
}
