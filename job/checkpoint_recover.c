/* checkpoint_recover.c - a damaged state folder: its files are set aside whole, the newest sound backup takes their place.
 *
 * The order makes it repeatable: what is restored is complete beside the damaged files first; from then on until the end
 * state.mdb or weights/ is missing, which the next start sees as damage and mends in the same way.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/store_verify.h"
#include "job/checkpoint_backup.h"
#include "job/checkpoint_private.h"
#include "job/checkpoint_verify.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ASIDE_KEEP = 3, NAME_ROOM = 96 };
#define UNKNOWN_STEP 1000000 /* no trace of the newest version: numbers go on from so much further */

static const char restore_name[] = "restore.tmp", aside_prefix[] = "damaged-";

/* ---- what was there ---- */

static uint64_t known_in(int dir, const char *name)
{
    struct checkpoint_newest newest;
    const int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0;
    checkpoint_newest_read(fd, &newest);
    uint64_t known = checkpoint_largest_number(fd);
    if (newest.there && newest.version > known) known = newest.version;
    if (newest.there && newest.floor > known) known = newest.floor;
    (void)close(fd);
    return known;
}

static bool is_aside(const char *name)
{
    return strncmp(name, aside_prefix, sizeof aside_prefix - 1) == 0;
}

/* The largest version that the folder has a trace of: in weights/, or in what was set aside (by a recovery that was cut
 * off). */
static uint64_t newest_known(int dir)
{
    uint64_t known = known_in(dir, "weights");
    DIR *d = file_list(dir);
    for (const char *name; (name = file_next(d)) != NULL;) {
        char weights[300];
        if (!is_aside(name)) continue;
        (void)snprintf(weights, sizeof weights, "%s/weights", name);
        const uint64_t there = known_in(dir, weights);
        if (there > known) known = there;
    }
    file_list_end(d);
    return known;
}

/* ---- from which backup ---- */

static enum status choose(struct checkpoint *cp, const struct err *why, uint64_t *version, struct err *e)
{
    uint64_t versions[CHECKPOINT_BACKUPS_MAX];
    struct err bad = {0};
    const size_t n = checkpoint_backups(cp->dir, versions);
    for (size_t i = 0; i < n; i++) {
        const enum status st = checkpoint_backup_verify(cp->dir, versions[i], cp->lock.fd, &bad);
        *version = versions[i];
        if (st == STATUS_OK || st == STATUS_OOM) return st == STATUS_OK ? st : ERR_SET(e, st, "%s", bad.text);
        log_error("state", "backup=%s/backup/%llu unusable=\"%s\"", cp->dir, (unsigned long long)versions[i], bad.text);
    }
    char found[60] = "there is no backup";
    if (n > 0) (void)snprintf(found, sizeof found, "none of %zu backups is sound", n);
    return ERR_SET(e, STATUS_CORRUPT,
                   "state folder %.120s is damaged: %.150s; %s. Copy a good one back, or move the folder away and "
                   "begin anew",
                   cp->dir, why->text, found);
}

/* Every line's of that version. */
static enum status copy_weights(int from, uint64_t version, int to, struct err *e)
{
    char names[CONF_LINES_MAX][CHECKPOINT_FILE_NAME], name[CHECKPOINT_FILE_NAME + 8];
    int weights = -1;
    TRY(file_open_dir(&weights, from, "weights", false, e));
    const size_t n = checkpoint_files_of(weights, version, names);
    (void)close(weights);
    enum status st = n > 0 ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "no weight file");
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        (void)snprintf(name, sizeof name, "weights/%s", names[i]);
        st = file_copy_whole(from, name, to, name, e);
    }
    return st;
}

/* restore.tmp/ holds state.mdb and weights/ of the backup, with what is known of the versions after it. */
static enum status build(struct checkpoint *cp, uint64_t version, uint64_t floor, struct err *e)
{
    char name[NAME_ROOM];
    int from = -1, to = -1, weights = -1;
    struct store_copy c = {.fd = -1};
    enum status st;
    file_remove(cp->dir_fd, restore_name);
    (void)snprintf(name, sizeof name, "backup/%llu", (unsigned long long)version);
    TRY(file_open_dir(&from, cp->dir_fd, name, false, e));
    TRY_OUT(st, file_open_dir(&to, cp->dir_fd, restore_name, true, e));
    TRY_OUT(st, file_open_dir(&weights, to, "weights", true, e));
    TRY_OUT(st, store_copy_begin(&c, from, "state.mdb", e));
    TRY_OUT(st, file_copy_whole(from, "state.mdb", to, "state.mdb", e));
    TRY_OUT(st, copy_weights(from, version, to, e));
    const struct checkpoint_newest n = {.version = version, .txnid = c.pages.txnid, .floor = floor};
    TRY_OUT(st, checkpoint_newest_write(weights, &n, e));
    st = file_sync_dir(to, restore_name, e);
out:
    store_copy_end(&c);
    if (weights >= 0) (void)close(weights);
    if (to >= 0) (void)close(to);
    (void)close(from);
    return st;
}

/* ---- aside ---- */

static void drop_old_asides(const struct checkpoint *cp)
{
    for (;;) {
        char oldest[NAME_ROOM] = "";
        size_t n = 0;
        DIR *d = file_list(cp->dir_fd);
        for (const char *name; (name = file_next(d)) != NULL;) {
            if (!is_aside(name) || strlen(name) >= sizeof oldest) continue;
            n++;
            if (oldest[0] == 0 || strcmp(name, oldest) < 0) memcpy(oldest, name, strlen(name) + 1);
        }
        file_list_end(d);
        if (n <= ASIDE_KEEP) return;
        file_remove(cp->dir_fd, oldest);
        struct stat info;
        if (fstatat(cp->dir_fd, oldest, &info, 0) == 0) return; /* it can't be removed */
    }
}

void checkpoint_aside_name(char out[96])
{
    struct timespec now;
    struct tm utc;
    char text[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(text, sizeof text, "%Y%m%dT%H%M%S", &utc);
    (void)snprintf(out, 96, "%s%s.%06ld-%ld", aside_prefix, text, now.tv_nsec / 1000, (long)getpid());
}

static enum status move(int from_dir, const char *name, int to_dir, struct err *e)
{
    if (renameat(from_dir, name, to_dir, name) == 0 || errno == ENOENT) return STATUS_OK;
    return file_failed(e, name, "be set aside", errno);
}

/* The damaged files out, the restored ones in. */
static enum status exchange(struct checkpoint *cp, const char *aside, struct err *e)
{
    int to = -1, from = -1;
    enum status st;
    TRY_OUT(st, store_lock_check(&cp->lock, e));
    TRY_OUT(st, file_open_dir(&to, cp->dir_fd, aside, true, e));
    TRY_OUT(st, file_open_dir(&from, cp->dir_fd, restore_name, false, e));
    TRY_OUT(st, move(cp->dir_fd, "state.mdb", to, e));
    (void)unlinkat(cp->dir_fd, "state.mdb-lock", 0);
    TRY_OUT(st, move(cp->dir_fd, "weights", to, e));
    TRY_OUT(st, file_sync_dir(to, aside, e));
    TRY_OUT(st, move(from, "weights", cp->dir_fd, e));
    TRY_OUT(st, move(from, "state.mdb", cp->dir_fd, e));
    TRY_OUT(st, file_sync_dir(cp->dir_fd, cp->dir, e));
    file_remove(cp->dir_fd, restore_name);
out:
    if (to >= 0) (void)close(to);
    if (from >= 0) (void)close(from);
    return st;
}

enum status checkpoint_recover(struct checkpoint *cp, const struct err *why, struct err *e)
{
    uint64_t version = 0;
    char aside[NAME_ROOM];
    struct err fault = {0};
    struct checkpoint_recovery *r = &cp->recovery;
    TRY(choose(cp, why, &version, e));
    const uint64_t lost = newest_known(cp->dir_fd);
    const uint64_t floor = lost >= version && lost > 0 ? lost : version + UNKNOWN_STEP;
    checkpoint_aside_name(aside);
    enum status st = build(cp, version, floor, &fault);
    if (st == STATUS_OK) st = exchange(cp, aside, &fault);
    if (st == STATUS_FULL) file_remove(cp->dir_fd, restore_name); /* its bytes may be what others lack */
    if (st != STATUS_OK)
        return ERR_SET(e, st, "state folder %.120s is damaged (%.120s), and backup/%llu can't take its place yet: %s",
                       cp->dir, why->text, (unsigned long long)version, fault.text);
    drop_old_asides(cp);
    r->recovered = true;
    r->version = version;
    r->lost = lost;
    (void)snprintf(r->aside, sizeof r->aside, "%.500s/%.95s", cp->dir, aside);
    (void)snprintf(r->reason, sizeof r->reason, "%s", why->text);
    log_error("state", "damaged=\"%s\" fell_back_to=%llu newest_was=%llu aside=%s next_version_above=%llu", why->text,
              (unsigned long long)version, (unsigned long long)lost, r->aside, (unsigned long long)floor);
    return STATUS_OK;
}
