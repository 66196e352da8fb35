/* checkpoint_verify.c - see checkpoint_verify.h. */
#include "job/checkpoint_verify.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/child.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/store_verify.h"
#include "job/checkpoint_meta.h"
#include "job/checkpoint_newest.h"
#include "schemas/conf_variant.h"
#include "schemas/weights.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 700, VERSIONS_MAX = 10000, LEAST_MS = 60000, BYTES_PER_MS = 10000, FILE_MAX_SHIFT = 36 };

/* What the records of STORE_META say that is needed here. */
struct notes {
    struct checkpoint_mark newest;
    bool bad;
    uint64_t versions[VERSIONS_MAX]; /* whose weight files are named */
    size_t n_versions;
    struct {
        char name[CONF_VARIANT_NAME], sha256[HASH_SHA256_HEX];
    } lines[CONF_LINES_MAX]; /* variants of the newest */
    size_t n_lines;
};

static void take_lines(struct notes *n, struct str value)
{
    struct buf_reader r = buf_reader(value.p, value.n);
    const size_t lines = buf_get_count(&r, 3);
    for (size_t i = 0; i < lines && !n->bad; i++) {
        struct checkpoint_line line;
        n->bad = i == CONF_LINES_MAX || checkpoint_line_decode(&line, &r, NULL) != STATUS_OK;
        if (n->bad) return;
        memcpy(n->lines[i].name, line.name.p, line.name.n);
        memcpy(n->lines[i].sha256, line.sha256, sizeof line.sha256);
        n->n_lines++;
    }
}

static void take_note(void *user, struct str key, struct str value)
{
    struct notes *n = user;
    char digits[24] = "";
    if (str_is(key, "version") && checkpoint_mark_decode(&n->newest, value, NULL) != STATUS_OK) n->bad = true;
    if (str_is(key, "lines")) take_lines(n, value);
    if (key.n <= 8 || key.n >= 8 + sizeof digits || memcmp(key.p, "version/", 8) != 0) return;
    memcpy(digits, key.p + 8, key.n - 8);
    if (n->n_versions < VERSIONS_MAX) n->versions[n->n_versions++] = strtoull(digits, NULL, 10);
}

uint64_t checkpoint_largest_number(int folder)
{
    uint64_t largest = 0;
    DIR *d = file_list(folder);
    for (const char *name; (name = file_next(d)) != NULL;) {
        char *end;
        const unsigned long long v = strtoull(name, &end, 10);
        if (name[0] >= '0' && name[0] <= '9' && *end == 0 && v > largest) largest = v;
    }
    file_list_end(d);
    return largest;
}

/* variant: "" for the default line's; sha: NULL when nothing says what it must be. */
static enum status check_weights(const char *dir, uint64_t version, const char *variant, const char *sha,
                                 uint64_t *bytes, struct err *e)
{
    char path[PATH_ROOM];
    const char *dot = variant[0] != '\0' ? "." : "";
    struct buf file = {0};
    struct arena a = {0};
    struct weights_view v;
    struct err why = {0};
    enum status st;
    (void)snprintf(path, sizeof path, "%s/weights/%llu%s%s", dir, (unsigned long long)version, dot, variant);
    TRY_OUT(st, weights_read_file(path, (size_t)1 << FILE_MAX_SHIFT, &file, &why));
    TRY_OUT(st, weights_decode(&v, file.p, file.n, false, &a, &why)); /* XXH3 over all of it */
    if (v.version != version || (sha != NULL && strcmp(v.sha256, sha) != 0))
        st = ERR_SET(&why, STATUS_CORRUPT, "is not the file that the state names");
    *bytes += file.n;
out:
    buf_fini(&file);
    arena_fini(&a);
    if (st == STATUS_OK || st == STATUS_OOM) return st;
    return ERR_SET(e, st == STATUS_UNSUPPORTED ? st : STATUS_CORRUPT, "weights/%llu%s%s: %s",
                   (unsigned long long)version, dot, variant, why.text);
}

struct places {
    int dir, weights;
    struct checkpoint_newest newest;
    uint64_t weights_top, backups_top; /* largest numbers there */
};

static void look_round(struct places *p, const char *dir)
{
    *p = (struct places){.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .weights = -1};
    if (p->dir < 0) return;
    p->weights = openat(p->dir, "weights", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->weights >= 0) {
        checkpoint_newest_read(p->weights, &p->newest);
        p->weights_top = checkpoint_largest_number(p->weights);
    }
    const int backup = openat(p->dir, "backup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (backup < 0) return;
    p->backups_top = checkpoint_largest_number(backup);
    (void)close(backup);
}

static uint64_t largest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* No store, or the first bytes of one: fresh if nothing says that there was more. */
static enum status no_store(struct checkpoint_verdict *v, const struct places *p, struct err *e)
{
    struct stat info;
    const bool absent = fstatat(p->dir, "state.mdb", &info, 0) != 0;
    const uint64_t had = largest(largest(p->newest.version, p->weights_top), p->backups_top);
    if (had == 0 && (absent || info.st_size < 8192)) {
        v->stub = !absent;
        return STATUS_OK;
    }
    if (!absent) return STATUS_CORRUPT; /* what store_verify said */
    return ERR_SET(e, STATUS_CORRUPT, "state.mdb is missing, version %llu was there", (unsigned long long)had);
}

/* An older state of the store, whole in itself, is damage too: what it lacks was shown to others. */
static enum status is_newest(const struct checkpoint_verdict *v, const struct places *p, struct err *e)
{
    if (p->newest.there && (p->newest.version > v->version || p->newest.txnid > v->txnid))
        return ERR_SET(e, STATUS_CORRUPT,
                       "state.mdb is of version %llu (transaction %llu), the newest was %llu (transaction %llu)",
                       (unsigned long long)v->version, (unsigned long long)v->txnid,
                       (unsigned long long)p->newest.version, (unsigned long long)p->newest.txnid);
    const uint64_t had =
        largest(p->weights_top > 0 ? p->weights_top - 1 : 0, p->backups_top); /* one may be uncommitted */
    if (!p->newest.there && had > v->version)
        return ERR_SET(e, STATUS_CORRUPT, "state.mdb is of version %llu, the folder had %llu",
                       (unsigned long long)v->version, (unsigned long long)had);
    return STATUS_OK;
}

static enum status check_all_weights(struct checkpoint_verdict *v, const struct notes *n, const char *dir,
                                     const struct places *p, struct err *e)
{
    char name[24];
    struct err ignored;
    if (v->version == 0) return STATUS_OK;
    TRY(check_weights(dir, v->version, "", v->sha256, &v->weight_bytes, e));
    v->weight_files = 1;
    for (size_t i = 0; i < n->n_lines; i++)
        TRY(check_weights(dir, v->version, n->lines[i].name, n->lines[i].sha256, &v->weight_bytes, e));
    for (size_t i = 0; i < n->n_versions; i++) {
        (void)snprintf(name, sizeof name, "%llu", (unsigned long long)n->versions[i]);
        if (n->versions[i] == v->version || faccessat(p->weights, name, F_OK, 0) != 0) continue;
        if (check_weights(dir, n->versions[i], "", NULL, &v->weight_bytes, &ignored) == STATUS_OK)
            v->weight_files++;
        else if (v->n_bad < CHECKPOINT_BAD_MAX)
            v->bad[v->n_bad++] = n->versions[i];
    }
    return STATUS_OK;
}

static enum status verify_folder(struct checkpoint_verdict *v, struct notes *n, const char *dir, const struct places *p,
                                 struct err *e)
{
    struct store_verified s;
    const enum status st = store_verify(p->dir, "state.mdb", take_note, n, &s, e);
    if (st == STATUS_NOT_FOUND || st == STATUS_CORRUPT) return no_store(v, p, e);
    TRY(st);
    if (n->bad) return ERR_SET(e, STATUS_CORRUPT, "state.mdb: its record of the version, or of variants, is cut short");
    v->version = n->newest.version;
    memcpy(v->sha256, n->newest.sha256, sizeof v->sha256);
    v->txnid = s.root.txnid;
    v->records = s.pages.records;
    v->state_bytes = s.bytes;
    TRY(is_newest(v, p, e));
    return check_all_weights(v, n, dir, p, e);
}

/* In the child. */
static enum status work(void *user, void *answer, struct err *e)
{
    const char *dir = user;
    struct places p;
    enum status st;
    struct notes *n = mem_calloc(1, sizeof *n);
    if (n == NULL) return ERR_SET(e, STATUS_OOM, "no memory to verify %s", dir);
    look_round(&p, dir);
    st = p.dir < 0 ? ERR_SET(e, STATUS_IO, "%s can't be opened", dir) : verify_folder(answer, n, dir, &p, e);
    if (p.weights >= 0) (void)close(p.weights);
    if (p.dir >= 0) (void)close(p.dir);
    mem_free(n);
    return st;
}

/* A minute and what a slow disk takes. */
static int timeout_for(const char *dir)
{
    char path[PATH_ROOM];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/state.mdb", dir);
    const int64_t ms = stat(path, &info) == 0 ? info.st_size / BYTES_PER_MS : 0;
    return LEAST_MS + (ms < INT32_MAX / 2 ? (int)ms : INT32_MAX / 2);
}

enum status checkpoint_verify(struct checkpoint_verdict *v, const char *dir, int drop_fd, struct err *e)
{
    char path[PATH_ROOM];
    *v = (struct checkpoint_verdict){0};
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path - 64)
        return ERR_SET(e, STATUS_INVALID, "state folder: path of %zu bytes is too long", strlen(dir));
    return child_run(work, path, v, sizeof *v, timeout_for(dir), drop_fd, e);
}
