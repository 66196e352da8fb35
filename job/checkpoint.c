/* checkpoint.c - see checkpoint.h: weight file first, then the commit that names it. */
#include "job/checkpoint.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/checkpoint_meta.h"
#include "job/checkpoint_private.h"
#include "job/checkpoint_verify.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum status read_version(struct checkpoint *cp, struct store_txn *t, struct err *e)
{
    struct str v;
    struct checkpoint_mark mark;
    struct err why;
    const enum status st = store_get(t, STORE_META, STR("version"), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    if (checkpoint_mark_decode(&mark, v, &why) != STATUS_OK)
        return ERR_SET(e, STATUS_CORRUPT, "state folder %s: %s", cp->dir, why.text);
    cp->version = mark.version;
    cp->dead_letters = mark.dead_letters;
    memcpy(cp->sha256, mark.sha256, sizeof cp->sha256);
    if (mark.epoch > cp->epoch) cp->epoch = mark.epoch;
    return STATUS_OK;
}

/* Weight files that no commit names (a crash came between), and old ones beyond state.keep. */
static void remove_strays(const struct checkpoint *cp)
{
    DIR *d = file_list(cp->weights_fd);
    for (const char *name; (name = file_next(d)) != NULL;) {
        char *end;
        const unsigned long long version = strtoull(name, &end, 10);
        if (name[0] == '.' || strcmp(name, "newest") == 0) continue;
        if ((*end == '\0' || *end == '.') && version <= cp->version &&
            version + (uint64_t)cp->conf->state_keep > cp->version)
            continue;
        if ((*end == '\0' || *end == '.') && version <= cp->version && checkpoint_holds(cp, version)) continue;
        if (unlinkat(cp->weights_fd, name, 0) == 0 && version > cp->version)
            log_info("checkpoint", "removed=%s/%s reason=uncommitted", cp->weights_dir, name);
    }
    file_list_end(d);
}

/* What a take-over, a recovery or a backup left when it was cut off. */
static void remove_leftovers(const struct checkpoint *cp)
{
    static const char *const names[] = {"state.mdb.take", "weights.take", "backup.take", "restore.tmp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) file_remove(cp->dir_fd, names[i]);
    DIR *d = file_list(cp->backup_fd);
    for (const char *name; (name = file_next(d)) != NULL;)
        if (strncmp(name, ".tmp-", 5) == 0) file_remove(cp->backup_fd, name);
    file_list_end(d);
}

/* Older weight files that can no longer be gone back to. */
static void set_bad_aside(const struct checkpoint *cp, const struct checkpoint_verdict *v)
{
    char name[96], from[40], to[160];
    for (uint32_t i = 0; i < v->n_bad; i++) {
        checkpoint_aside_name(name);
        (void)snprintf(from, sizeof from, "weights/%llu", (unsigned long long)v->bad[i]);
        (void)snprintf(to, sizeof to, "%s-weights-%llu", name, (unsigned long long)v->bad[i]);
        if (renameat(cp->dir_fd, from, cp->dir_fd, to) == 0)
            log_error("state", "damaged=%s/%s aside=%s; the newest version does not need it", cp->dir, from, to);
    }
}

/* Everything that is there is whole afterwards, or was set aside. */
static enum status verify(struct checkpoint *cp, struct checkpoint_verdict *v, struct err *e)
{
    struct err why = {0};
    struct clock *c = clock_system();
    const int64_t start = c->mono_us(c);
    enum status st = checkpoint_verify(v, cp->dir, cp->lock.fd, &why);
    if (st == STATUS_CORRUPT) {
        TRY(checkpoint_recover(cp, &why, e));
        st = checkpoint_verify(v, cp->dir, cp->lock.fd, &why);
    }
    if (st != STATUS_OK) return ERR_SET(e, st, "state folder %s: %s", cp->dir, why.text);
    set_bad_aside(cp, v);
    if (v->stub) (void)unlinkat(cp->dir_fd, "state.mdb", 0);
    if (v->version > 0)
        log_info("state", "verified=%s version=%llu records=%llu mib=%.1f ms=%lld", cp->dir,
                 (unsigned long long)v->version, (unsigned long long)v->records,
                 (double)(v->state_bytes + v->weight_bytes) / 0x1p20, (long long)(c->mono_us(c) - start) / 1000);
    return STATUS_OK;
}

static enum status open_folder(struct checkpoint *cp, struct err *e)
{
    struct err why = {0};
    const enum status st = file_open_dir(&cp->dir_fd, AT_FDCWD, cp->dir, true, &why);
    if (st == STATUS_OK) return st;
    return ERR_SET(e, st, "state.dir: %s; it must be a folder, or a new name in one, that who runs this may write to",
                   why.text);
}

/* Takes the folder: lock, fence, verification; afterwards its sub-folders are open and its store may be. */
static enum status take_folder(struct checkpoint *cp, struct checkpoint_options o, struct checkpoint_verdict *v,
                               struct err *e)
{
    TRY(open_folder(cp, e));
    TRY(store_lock_take(&cp->lock, cp->dir, o.take_over, o.epoch, e));
    TRY(checkpoint_fence(cp, e));
    TRY(verify(cp, v, e));
    TRY(file_open_dir(&cp->weights_fd, cp->dir_fd, "weights", true, e));
    TRY(file_open_dir(&cp->backup_fd, cp->dir_fd, "backup", true, e));
    return store_open_held(&cp->store, cp->dir, e);
}

/* A store that is ahead of `newest` had its checkpoint cut off at the very end; from now on it says so. */
static enum status settle_newest(struct checkpoint *cp, struct err *e)
{
    struct checkpoint_newest n;
    checkpoint_newest_read(cp->weights_fd, &n);
    cp->floor = n.floor;
    if (cp->version == 0 || (n.there && n.version == cp->version && n.txnid == cp->txnid)) return STATUS_OK;
    if (!n.there) log_warn("state", "folder=%s newest=\"missing or damaged, written anew\"", cp->dir);
    n = (struct checkpoint_newest){.version = cp->version, .txnid = cp->txnid, .floor = n.floor};
    return checkpoint_newest_write(cp->weights_fd, &n, e);
}

enum status checkpoint_open(struct checkpoint **out, const struct conf *c, const char *dir, struct checkpoint_options o,
                            struct err *e)
{
    enum status st;
    struct store_txn *t = NULL;
    struct checkpoint_verdict v;
    *out = NULL;
    struct checkpoint *cp = mem_calloc(1, sizeof *cp);
    if (cp == NULL) return ERR_SET(e, STATUS_OOM, "state folder: %zu bytes", sizeof *cp);
    cp->conf = c;
    cp->epoch = o.epoch;
    cp->lock.fd = cp->dir_fd = cp->weights_fd = cp->backup_fd = -1;
    (void)snprintf(cp->dir, sizeof cp->dir, "%s", dir);
    (void)snprintf(cp->weights_dir, sizeof cp->weights_dir, "%s/weights", dir);
    TRY_OUT(st, take_folder(cp, o, &v, e));
    TRY_OUT(st, store_begin(&t, cp->store, false, e));
    cp->txnid = store_root(t)->txnid;
    TRY_OUT(st, read_version(cp, t, e));
    if (cp->version != v.version || cp->txnid != v.txnid) {
        st = ERR_SET(e, STATUS_CONFLICT, "state folder %s changed while it was opened", cp->dir);
        goto out;
    }
    TRY_OUT(st, checkpoint_logs_load(cp, t, e));
    TRY_OUT(st, checkpoint_held_load(cp, t, e));
    TRY_OUT(st, settle_newest(cp, e));
    remove_leftovers(cp);
    remove_strays(cp);
    *out = cp;
    cp = NULL;
out:
    store_abort(t);
    checkpoint_close(cp);
    return st;
}

static void close_fd(int fd)
{
    if (fd >= 0) (void)close(fd);
}

void checkpoint_close(struct checkpoint *cp)
{
    if (cp == NULL) return;
    checkpoint_backup_stop(cp);
    store_close(cp->store);
    close_fd(cp->weights_fd);
    close_fd(cp->backup_fd);
    close_fd(cp->dir_fd);
    store_lock_release(&cp->lock);
    buf_fini(&cp->file);
    buf_fini(&cp->moments);
    mem_free(cp);
}

struct store *checkpoint_store(struct checkpoint *cp)
{
    return cp->store;
}

void checkpoint_go_on_after(struct checkpoint *cp, uint64_t version)
{
    if (version > cp->floor) cp->floor = version;
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
static void meaning_of(struct buf *b, const struct conf *c, uint64_t model)
{
    conf_meaning(c, b);
    buf_printf(b, "base+parts=%016llx\n", (unsigned long long)model);
}

void checkpoint_line_meaning(struct buf *b, const struct line *l)
{
    meaning_of(b, l->conf, model_fingerprint(l->model));
}

/* Keys that folders of earlier versions say nothing of, and what those versions did. */
/* clang-format off: a key a line */
static const char *const once[] = {
    "kernels.train_precision=f32",
    "cooccur.half_life_days=0",
    "cooccur.neighbours=128",
    "counter.groups=65536",
    "eval.segments=",
    "gate.holdout_frac=0",
    "join.basket=false",
    "join.cascade=false",
    "join.items_from_ms=0",
    "join.max_item_age_days=0",
    "join.negative_rate=1",
    "join.wait_ms=60000",
    "model.deep_units=64",
    "model.idvec_bits=14",
    "model.position=false",
    "model.user_bits=14",
    "model.user_units=0",
    "train.batch_wait_ms=0",
    "train.distill=0",
    "train.follow_ms=0",
    "train.follow_times=0",
    "train.half_life_examples=0",
    "train.idvec_rate=0.05",
    "train.itembias_rate=0.05",
    "train.l2_sp=0",
    "train.l2_sp_anchor=pretrained",
    "train.numeric_order=1",
    "train.numeric_ridge=1",
    "train.recalibration=false",
    "train.replay_share=0",
    "train.reservoir_bytes=67108864",
    "train.reservoir_horizon_slates=0",
    "train.reservoir_slates=10000",
    "train.sampling_correction=false",
    "train.schedule=constant",
    "train.schedule_steps=100000",
    "train.softmax_share=0",
    "train.step_slates=0",
    "train.tasks=",
    "train.user_rate=0.2",
};
/* clang-format on */

/* Whether text has this line. */
static bool has_line(struct str text, struct str line)
{
    const char *at = memmem(text.p, text.n, line.p, line.n);
    return at != NULL && (at == text.p || at[-1] == '\n') && (at + line.n == text.p + text.n || at[line.n] == '\n');
}

/* Nothing is said of the line's key, and what was done then is what the line says. */
static bool meant_once(struct str then, struct str line)
{
    const char *eq = memchr(line.p, '=', line.n);
    if (eq == NULL || memmem(then.p, then.n, line.p, (size_t)(eq - line.p) + 1) != NULL) return false;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (str_eq(line, str_from(once[i]))) return true;
    return false;
}

/* Names the first line of `now` that `then` does not have. */
enum status checkpoint_same_meaning(struct str then, struct str now, const char *dir, struct err *e)
{
    for (const char *p = now.p, *end = now.p + now.n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const struct str line = {p, (size_t)((nl != NULL ? nl : end) - p)};
        const char *eq = memchr(p, '=', line.n);
        if (!has_line(then, line) && !meant_once(then, line))
            return ERR_SET(
                e, STATUS_CONFLICT,
                "state folder %s was made with another %.*s: it would no longer mean the same; put the old value "
                "back, or use a new state.dir",
                dir, (int)(eq != NULL ? eq - p : (long)line.n), p);
        p += line.n + 1;
    }
    return STATUS_OK;
}

void checkpoint_file_name(char out[CHECKPOINT_FILE_NAME], uint64_t version, const char *name)
{
    (void)snprintf(out, CHECKPOINT_FILE_NAME, "%llu%s%s", (unsigned long long)version, name != NULL ? "." : "",
                   name != NULL ? name : "");
}

enum status checkpoint_load_line(struct checkpoint *cp, struct line *l, const char *name, const char *sha256,
                                 struct err *e)
{
    char path[CHECKPOINT_PATH + CHECKPOINT_FILE_NAME + 1], file[CHECKPOINT_FILE_NAME];
    struct arena a = {0};
    struct weights_view v = {0};
    enum status st;
    checkpoint_file_name(file, cp->version, name);
    (void)snprintf(path, sizeof path, "%s/%s", cp->weights_dir, file);
    TRY_OUT(st, weights_read_file(path, CHECKPOINT_FILE_MAX, &cp->file, e));
    TRY_OUT(st, weights_decode(&v, cp->file.p, cp->file.n, true, &a, e));
    if (strcmp(v.sha256, sha256) != 0 || v.version != cp->version) {
        st = ERR_SET(e, STATUS_CORRUPT, "%s is not the file that the state folder names", path);
        goto out;
    }
    TRY_OUT(st, param_from_view(model_table(l->model), &v, model_fingerprint(l->model), l->params, e));
    struct buf_reader r = buf_reader(v.moments, v.n_moments);
    TRY_OUT(st, optim_decode(l->optim, &r, e));
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
    meaning_of(&now, cp->conf, model_fingerprint(learner_model(l)));
    TRY_OUT(st, buf_status(&now, e));
    TRY_OUT(st, store_begin(&t, cp->store, false, e));
    TRY_OUT(st, store_get(t, STORE_META, STR("meaning"), &then, e));
    TRY_OUT(st, checkpoint_same_meaning(then, (struct str){(const char *)now.p, now.n}, cp->dir, e));
    TRY_OUT(st, checkpoint_load_line(cp, variants_line(learner_variants(l), 0), NULL, cp->sha256, e));
    TRY_OUT(st, checkpoint_variants_restore(cp, t, l, e));
    st = learner_load(l, t, e);
    if (st == STATUS_OK) learner_numbered(l, cp->version);
out:
    store_abort(t);
    buf_fini(&now);
    return st;
}

enum status checkpoint_write_line(struct checkpoint *cp, struct line *l, const char *name, uint64_t version,
                                  struct err *e)
{
    char file[CHECKPOINT_FILE_NAME];
    struct arena a = {0};
    struct weights_view v = {0};
    enum status st;
    buf_clear(&cp->file);
    buf_clear(&cp->moments);
    TRY_OUT(st, param_sha256(l->params, e));
    TRY_OUT(st, param_view(model_table(l->model), l->params, model_fingerprint(l->model), &a, &v, e));
    optim_encode(&cp->moments, l->optim);
    TRY_OUT(st, buf_status(&cp->moments, e));
    v.version = version;
    v.moments = cp->moments.p;
    v.n_moments = cp->moments.n;
    TRY_OUT(st, weights_encode(&cp->file, &v, e));
    checkpoint_file_name(file, version, name);
    st = file_write(cp->weights_fd, file, cp->file.p, cp->file.n, e);
out:
    arena_fini(&a);
    return st;
}

static enum status put_meta(struct checkpoint *cp, struct store_txn *t, struct learner *l, uint64_t version,
                            const char *sha, struct err *e)
{
    enum status st;
    struct buf b = {0};
    struct checkpoint_mark mark = {version, cp->dead_letters, cp->epoch, ""};
    (void)snprintf(mark.sha256, sizeof mark.sha256, "%s", sha);
    checkpoint_mark_encode(&b, &mark);
    TRY_OUT(st, buf_status(&b, e));
    TRY_OUT(st, store_put(t, STORE_META, STR("version"), (struct str){(const char *)b.p, b.n}, e));
    buf_clear(&b);
    meaning_of(&b, cp->conf, model_fingerprint(learner_model(l)));
    TRY_OUT(st, buf_status(&b, e));
    TRY_OUT(st, store_put(t, STORE_META, STR("meaning"), (struct str){(const char *)b.p, b.n}, e));
    TRY_OUT(st, checkpoint_variants_put(cp, t, l, e));
    TRY_OUT(st, checkpoint_meta_put(t, l, version, (uint64_t)cp->conf->state_keep, e));
    TRY_OUT(st, checkpoint_held_save(cp, t, e));
    st = checkpoint_logs_save(cp, t, e);
out:
    buf_fini(&b);
    return st;
}

/* The number of the transaction is what its root record will say. */
static enum status commit_once(struct checkpoint *cp, struct learner *l, uint64_t version, uint64_t *txnid,
                               struct err *e)
{
    struct store_txn *t = NULL;
    TRY(store_begin(&t, cp->store, true, e));
    enum status st = learner_save(l, t, e);
    if (st == STATUS_OK) st = put_meta(cp, t, l, version, learner_params(l)->sha256, e);
    *txnid = store_txnid(t);
    if (st == STATUS_OK) return store_commit(t, e);
    store_abort(t);
    return st;
}

static enum status make_durable(struct checkpoint *cp, struct learner *l, uint64_t version, struct err *e)
{
    enum status st;
    struct checkpoint_newest n = {.version = version, .floor = cp->floor};
    TRY(checkpoint_write_line(cp, variants_line(learner_variants(l), 0), NULL, version, e));
    TRY(checkpoint_variants_write(cp, l, version, e));
    checkpoint_backup_before_commit(cp);
    do {
        st = commit_once(cp, l, version, &n.txnid, e);
    } while (st == STATUS_AGAIN); /* the map grew */
    TRY(st);
    cp->txnid = n.txnid; /* whatever becomes of the rest: the next commit is counted from here */
    cp->unfinished = true;
    TRY(checkpoint_newest_write(cp->weights_fd, &n, e));
    cp->unfinished = false;
    return STATUS_OK;
}

uint64_t checkpoint_next(const struct checkpoint *cp)
{
    return (cp->version > cp->floor ? cp->version : cp->floor) + 1;
}

enum status checkpoint_write(struct checkpoint *cp, struct learner *l, struct err *e)
{
    const uint64_t version = checkpoint_next(cp);
    TRY(checkpoint_fenced(cp, e));
    checkpoint_hold(cp, l);
    const enum status st = make_durable(cp, l, version, e);
    TRY(checkpoint_fenced(cp, e)); /* whatever the fault was, this names its reason */
    TRY(st);
    learner_saved(l);
    learner_numbered(l, version);
    checkpoint_hold(cp, l);
    cp->version = version;
    (void)snprintf(cp->sha256, sizeof cp->sha256, "%s", learner_params(l)->sha256);
    for (size_t i = 0; i <= variants_count(learner_variants(l)); i++)
        variants_line(learner_variants(l), i)->params->version = version;
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

void checkpoint_set_epoch(struct checkpoint *cp, uint64_t epoch)
{
    cp->epoch = epoch;
}
