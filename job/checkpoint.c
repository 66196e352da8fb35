/* checkpoint.c - see checkpoint.h: weight file first, then the commit that names it. */
#include "job/checkpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/checkpoint_meta.h"
#include "job/checkpoint_private.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status make_dir(const char *path, struct err *e)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "state folder %s can't be made: %s (check state.dir)", path, strerror(errno));
}

static enum status read_version(struct checkpoint *cp, struct store_txn *t, struct err *e)
{
    struct str v;
    const enum status st = store_get(t, STORE_META, STR("version"), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader r = buf_reader(v.p, v.n);
    cp->version = buf_get_u64(&r);
    cp->dead_letters = buf_get_u64(&r);
    const struct str sha = buf_get_str(&r);
    if (r.bad || sha.n != HASH_SHA256_HEX - 1)
        return ERR_SET(e, STATUS_CORRUPT, "state folder %s: version record", cp->dir);
    memcpy(cp->sha256, sha.p, sha.n);
    return STATUS_OK;
}

/* Weight files that no commit names (a crash came between), and old ones beyond state.keep. */
static void remove_strays(const struct checkpoint *cp)
{
    char path[CHECKPOINT_PATH + 64];
    DIR *d = opendir(cp->weights_dir);
    if (d == NULL) return;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        char *end;
        const unsigned long long version = strtoull(f->d_name, &end, 10);
        if (f->d_name[0] == '.') continue;
        if (*end == '\0' && version <= cp->version && version + (uint64_t)cp->conf->state_keep > cp->version) continue;
        (void)snprintf(path, sizeof path, "%s/%.60s", cp->weights_dir, f->d_name);
        if (unlink(path) == 0 && version > cp->version) log_info("checkpoint", "removed=%s reason=uncommitted", path);
    }
    (void)closedir(d);
}

enum status checkpoint_open(struct checkpoint **out, const struct conf *c, const char *dir, struct checkpoint_options o,
                            struct err *e)
{
    enum status st;
    struct store_txn *t = NULL;
    *out = NULL;
    struct checkpoint *cp = mem_calloc(1, sizeof *cp);
    if (cp == NULL) return ERR_SET(e, STATUS_OOM, "state folder: %zu bytes", sizeof *cp);
    cp->conf = c;
    cp->epoch = o.epoch;
    (void)snprintf(cp->dir, sizeof cp->dir, "%s", dir);
    (void)snprintf(cp->weights_dir, sizeof cp->weights_dir, "%s/weights", dir);
    TRY_OUT(st, make_dir(cp->dir, e));
    TRY_OUT(st, make_dir(cp->weights_dir, e));
    TRY_OUT(st, store_open(&cp->store, cp->dir, false, e));
    TRY_OUT(st, store_begin(&t, cp->store, false, e));
    TRY_OUT(st, read_version(cp, t, e));
    TRY_OUT(st, checkpoint_logs_load(cp, t, e));
    remove_strays(cp);
    *out = cp;
    cp = NULL;
out:
    store_abort(t);
    checkpoint_close(cp);
    return st;
}

void checkpoint_close(struct checkpoint *cp)
{
    if (cp == NULL) return;
    store_close(cp->store);
    buf_fini(&cp->file);
    buf_fini(&cp->moments);
    mem_free(cp);
}

struct store *checkpoint_store(struct checkpoint *cp)
{
    return cp->store;
}

uint64_t checkpoint_version(const struct checkpoint *cp)
{
    return cp->version;
}

const char *checkpoint_sha256(const struct checkpoint *cp)
{
    return cp->sha256;
}

/* What the state means: one key=value a line. */
static void meaning_of(struct buf *b, const struct checkpoint *cp, uint64_t model)
{
    conf_meaning(cp->conf, b);
    buf_printf(b, "base+parts=%016llx\n", (unsigned long long)model);
}

/* Names the first line of `now` that `then` does not have. */
static enum status same_meaning(struct str then, struct str now, const char *dir, struct err *e)
{
    for (const char *p = now.p, *end = now.p + now.n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const size_t n = (size_t)((nl != NULL ? nl : end) - p);
        const char *at = memmem(then.p, then.n, p, n);
        const char *eq = memchr(p, '=', n);
        if (at == NULL || (at != then.p && at[-1] != '\n') || (at + n < then.p + then.n && at[n] != '\n'))
            return ERR_SET(
                e, STATUS_CONFLICT,
                "state folder %s was made with another %.*s: it would no longer mean the same; put the old value "
                "back, or use a new state.dir",
                dir, (int)(eq != NULL ? eq - p : (long)n), p);
        p += n + 1;
    }
    return STATUS_OK;
}

static enum status load_weights(struct checkpoint *cp, struct learner *l, struct err *e)
{
    char path[CHECKPOINT_PATH + 32];
    struct arena a = {0};
    struct weights_view v = {0};
    enum status st;
    (void)snprintf(path, sizeof path, "%s/%llu", cp->weights_dir, (unsigned long long)cp->version);
    TRY_OUT(st, weights_read_file(path, CHECKPOINT_FILE_MAX, &cp->file, e));
    TRY_OUT(st, weights_decode(&v, cp->file.p, cp->file.n, true, &a, e));
    if (strcmp(v.sha256, cp->sha256) != 0 || v.version != cp->version) {
        st = ERR_SET(e, STATUS_CORRUPT, "%s is not the file that the state folder names", path);
        goto out;
    }
    TRY_OUT(st, param_from_view(model_table(learner_model(l)), &v, model_fingerprint(learner_model(l)),
                                learner_params(l), e));
    struct buf_reader r = buf_reader(v.moments, v.n_moments);
    TRY_OUT(st, optim_decode(learner_optim(l), &r, e));
out:
    buf_fini(&cp->file);
    arena_fini(&a);
    return st;
}

enum status checkpoint_restore(struct checkpoint *cp, struct learner *l, struct err *e)
{
    enum status st;
    struct store_txn *t = NULL;
    struct str then;
    struct buf now = {0};
    if (cp->version == 0) return STATUS_OK;
    meaning_of(&now, cp, model_fingerprint(learner_model(l)));
    TRY_OUT(st, buf_status(&now, e));
    TRY_OUT(st, store_begin(&t, cp->store, false, e));
    TRY_OUT(st, store_get(t, STORE_META, STR("meaning"), &then, e));
    TRY_OUT(st, same_meaning(then, (struct str){(const char *)now.p, now.n}, cp->dir, e));
    TRY_OUT(st, load_weights(cp, l, e));
    st = learner_load(l, t, e);
out:
    store_abort(t);
    buf_fini(&now);
    return st;
}

static enum status write_weights(struct checkpoint *cp, struct learner *l, uint64_t version, struct err *e)
{
    char path[CHECKPOINT_PATH + 32];
    struct arena a = {0};
    struct weights_view v = {0};
    enum status st;
    struct param_set *p = learner_params(l);
    buf_clear(&cp->file);
    buf_clear(&cp->moments);
    TRY_OUT(st, param_sha256(p, e));
    TRY_OUT(st, param_view(model_table(learner_model(l)), p, model_fingerprint(learner_model(l)), &a, &v, e));
    optim_encode(&cp->moments, learner_optim(l));
    TRY_OUT(st, buf_status(&cp->moments, e));
    v.version = version;
    v.moments = cp->moments.p;
    v.n_moments = cp->moments.n;
    TRY_OUT(st, weights_encode(&cp->file, &v, e));
    (void)snprintf(path, sizeof path, "%s/%llu", cp->weights_dir, (unsigned long long)version);
    st = weights_write_file(path, &cp->file, e);
out:
    arena_fini(&a);
    return st;
}

static enum status put_meta(struct checkpoint *cp, struct store_txn *t, const struct learner *l, uint64_t version,
                            const char *sha, struct err *e)
{
    enum status st;
    struct buf b = {0};
    buf_u64(&b, version);
    buf_u64(&b, cp->dead_letters);
    buf_str(&b, str_from(sha));
    TRY_OUT(st, buf_status(&b, e));
    TRY_OUT(st, store_put(t, STORE_META, STR("version"), (struct str){(const char *)b.p, b.n}, e));
    buf_clear(&b);
    meaning_of(&b, cp, model_fingerprint(learner_model(l)));
    TRY_OUT(st, buf_status(&b, e));
    TRY_OUT(st, store_put(t, STORE_META, STR("meaning"), (struct str){(const char *)b.p, b.n}, e));
    TRY_OUT(st, checkpoint_meta_put(t, l, version, (uint64_t)cp->conf->state_keep, e));
    st = checkpoint_logs_save(cp, t, e);
out:
    buf_fini(&b);
    return st;
}

static enum status commit_once(struct checkpoint *cp, struct learner *l, uint64_t version, struct err *e)
{
    struct store_txn *t = NULL;
    TRY(store_begin(&t, cp->store, true, e));
    enum status st = learner_save(l, t, e);
    if (st == STATUS_OK) st = put_meta(cp, t, l, version, learner_params(l)->sha256, e);
    if (st == STATUS_OK) return store_commit(t, e);
    store_abort(t);
    return st;
}

enum status checkpoint_write(struct checkpoint *cp, struct learner *l, struct err *e)
{
    const uint64_t version = cp->version + 1;
    enum status st;
    TRY(write_weights(cp, l, version, e));
    do {
        st = commit_once(cp, l, version, e);
    } while (st == STATUS_AGAIN); /* the map grew */
    TRY(st);
    learner_saved(l);
    cp->version = version;
    (void)snprintf(cp->sha256, sizeof cp->sha256, "%s", learner_params(l)->sha256);
    learner_params(l)->version = version;
    remove_strays(cp);
    return STATUS_OK;
}

uint64_t checkpoint_dead_letters(const struct checkpoint *cp)
{
    return cp->dead_letters;
}

void checkpoint_set_dead_letters(struct checkpoint *cp, uint64_t length)
{
    cp->dead_letters = length;
}

const struct checkpoint_recovery *checkpoint_recovered(const struct checkpoint *cp)
{
    return &cp->recovery;
}

uint64_t checkpoint_epoch(const struct checkpoint *cp)
{
    return cp->epoch;
}

void checkpoint_set_epoch(struct checkpoint *cp, uint64_t epoch)
{
    cp->epoch = epoch;
}

enum status checkpoint_fenced(const struct checkpoint *cp, struct err *e)
{
    return cp->store != NULL ? STATUS_OK : ERR_SET(e, STATUS_CONFLICT, "state folder %s is not open", cp->dir);
}

enum status checkpoint_backup(struct checkpoint *cp, struct err *e)
{
    return ERR_SET(e, STATUS_UNSUPPORTED, "state folder %s: hot copies are not made yet", cp->dir);
}
