/* checkpoint_version.c - versions that are kept: which are held beyond state.keep, and the way back to one of them. */
#include "job/checkpoint_meta.h"
#include "job/checkpoint_private.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* name: a variant's; NULL: the default line. */
static enum status read_kept(struct checkpoint *cp, const struct model *m, uint64_t version, const char *name,
                             struct weights_view *v, struct arena *a, struct err *e)
{
    char path[CHECKPOINT_PATH + CHECKPOINT_FILE_NAME + 1], file[CHECKPOINT_FILE_NAME];
    checkpoint_file_name(file, version, name);
    (void)snprintf(path, sizeof path, "%s/%s", cp->weights_dir, file);
    if (!checkpoint_has(cp, version, name))
        return ERR_SET(e, STATUS_NOT_FOUND, "version %s is not kept (state.keep=%lld newest of up to %llu)", file,
                       (long long)cp->conf->state_keep, (unsigned long long)cp->version);
    TRY(weights_read_file(path, CHECKPOINT_FILE_MAX, &cp->file, e));
    TRY(weights_decode(v, cp->file.p, cp->file.n, true, a, e));
    if (v->version != version) return ERR_SET(e, STATUS_CORRUPT, "%s holds another version", path);
    return param_fits(model_table(m), v, model_fingerprint(m), e);
}

bool checkpoint_has(const struct checkpoint *cp, uint64_t version, const char *name)
{
    char file[CHECKPOINT_FILE_NAME];
    struct stat info;
    checkpoint_file_name(file, version, name);
    return version > 0 && version <= cp->version && fstatat(cp->weights_fd, file, &info, 0) == 0;
}

/* Sparse pages whose weights differ are to be saved anew; accumulators stay as they are. */
static void touch_pages(struct learner *l, const struct weights_view *v)
{
    const size_t first = model_table(learner_model(l))->group_first[PARAM_SPARSE];
    const struct param_set *p = learner_params(l);
    for (size_t i = 0; i < optim_pages(learner_optim(l)); i++) {
        const size_t at = first + i * OPTIM_PAGE, n = p->n - at < OPTIM_PAGE ? p->n - at : OPTIM_PAGE;
        if (memcmp(p->w + at, (const unsigned char *)v->params + at * sizeof(float), n * sizeof(float)) != 0)
            optim_page_touch(learner_optim(l), i);
    }
}

/* Slates that its line had learnt by then.  Of one that is held beyond state.keep the folder says no more: 0, so that nothing
 * learnt since counts as older. */
static enum status slates_of(const struct checkpoint *cp, uint64_t version, uint64_t *out, struct err *e)
{
    const struct checkpoint_meta meta = {.store = cp->store};
    struct checkpoint_version then;
    const enum status st = checkpoint_meta_version(&meta, version, &then, e);
    *out = then.slates;
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status checkpoint_take(struct checkpoint *cp, struct learner *l, uint64_t version, struct err *e)
{
    struct arena a = {0};
    struct weights_view v = {0};
    uint64_t slates;
    enum status st;
    const struct model *m = learner_model(l);
    TRY_OUT(st, read_kept(cp, m, version, NULL, &v, &a, e));
    TRY_OUT(st, slates_of(cp, version, &slates, e));
    touch_pages(l, &v);
    TRY_OUT(st, param_from_view(model_table(m), &v, model_fingerprint(m), learner_params(l), e));
    param_touch(learner_params(l));
    struct buf_reader r = buf_reader(v.moments, v.n_moments);
    TRY_OUT(st, optim_decode_dense(learner_optim(l), &r, e));
    reservoir_undo(learner_line(l)->reservoir, slates); /* what was learnt since is not to come back by replay */
out:
    buf_fini(&cp->file);
    arena_fini(&a);
    return st;
}

enum status checkpoint_params(struct checkpoint *cp, const struct model *m, uint64_t version, const char *name,
                              struct param_set **out, struct err *e)
{
    struct arena a = {0};
    struct weights_view v = {0};
    struct param_set *p = NULL;
    enum status st;
    *out = NULL;
    TRY_OUT(st, read_kept(cp, m, version, name, &v, &a, e));
    TRY_OUT(st, param_set_new(&p, model_table(m), e));
    TRY_OUT(st, param_from_view(model_table(m), &v, model_fingerprint(m), p, e));
    *out = p;
    p = NULL;
out:
    param_set_release(p);
    buf_fini(&cp->file);
    arena_fini(&a);
    return st;
}

enum status checkpoint_sha256_of(struct checkpoint *cp, const struct model *m, uint64_t version,
                                 char out[HASH_SHA256_HEX], struct err *e)
{
    struct arena a = {0};
    struct weights_view v = {0};
    const enum status st = read_kept(cp, m, version, NULL, &v, &a, e);
    if (st == STATUS_OK) memcpy(out, v.sha256, HASH_SHA256_HEX);
    buf_fini(&cp->file);
    arena_fini(&a);
    return st;
}

/* ---- what is held ---- */

bool checkpoint_holds(const struct checkpoint *cp, uint64_t version)
{
    return version > 0 && (version == cp->held[0] || version == cp->held[1]);
}

void checkpoint_hold(struct checkpoint *cp, const struct learner *l)
{
    cp->held[0] = learner_pinned(l);
    cp->held[1] = learner_blessed(l);
}

enum status checkpoint_held_save(const struct checkpoint *cp, struct store_txn *t, struct err *e)
{
    struct buf b = {0};
    buf_u64(&b, cp->held[0]);
    buf_u64(&b, cp->held[1]);
    enum status st = buf_status(&b, e);
    if (st == STATUS_OK) st = store_put(t, STORE_META, STR("held"), (struct str){(const char *)b.p, b.n}, e);
    buf_fini(&b);
    return st;
}

enum status checkpoint_held_load(struct checkpoint *cp, struct store_txn *t, struct err *e)
{
    struct str v;
    const enum status st = store_get(t, STORE_META, STR("held"), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader r = buf_reader(v.p, v.n);
    cp->held[0] = buf_get_u64(&r);
    cp->held[1] = buf_get_u64(&r);
    return r.bad ? ERR_SET(e, STATUS_CORRUPT, "state folder %s: record of versions that are held", cp->dir) : STATUS_OK;
}
