/* gate_snapshot.c - see gate_snapshot.h. */
#include "trainer/gate_snapshot.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT 1
#define PIECE ((size_t)1 << 18) /* bytes of one record */
enum { ROW_PAGES = 256 };       /* sparse pages of one record */

struct gate_snapshot {
    const struct param_table *t;
    struct param_set *params; /* NULL until the first take */
    float *acc;               /* (pages, OPTIM_PAGE) */
    size_t n_pages;
    struct buf moments, run;
    bool there, changed; /* changed: since gate_snapshot_saved */
};

enum status gate_snapshot_new(struct gate_snapshot **out, const struct param_table *t, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "gate: a snapshot of %zu bytes", sizeof **out);
    (*out)->t = t;
    (*out)->changed = true; /* what the store has of an earlier one is none of ours */
    return STATUS_OK;
}

void gate_snapshot_free(struct gate_snapshot *s)
{
    if (s == NULL) return;
    param_set_release(s->params);
    mem_free(s->acc);
    buf_fini(&s->moments);
    buf_fini(&s->run);
    mem_free(s);
}

bool gate_snapshot_there(const struct gate_snapshot *s)
{
    return s->there;
}

struct param_set *gate_snapshot_params(const struct gate_snapshot *s)
{
    return s->there ? s->params : NULL;
}

void gate_snapshot_drop(struct gate_snapshot *s)
{
    s->changed = s->changed || s->there;
    s->there = false;
}

void gate_snapshot_exchange(struct gate_snapshot *a, struct gate_snapshot *b)
{
    const struct gate_snapshot was = *a;
    *a = *b;
    *b = was;
    a->changed = b->changed = true;
}

static size_t n_dense(const struct gate_snapshot *s)
{
    return s->t->group_first[PARAM_SPARSE];
}

/* Its memory is made at the first take, and stays. */
static enum status need_room(struct gate_snapshot *s, const struct optim *o, struct err *e)
{
    const size_t pages = optim_pages(o);
    if (s->params == NULL) TRY(param_set_new(&s->params, s->t, e));
    if (s->n_pages == pages) return STATUS_OK;
    s->acc = mem_calloc(pages * OPTIM_PAGE, sizeof *s->acc);
    if (s->acc == NULL) return ERR_SET(e, STATUS_OOM, "gate: accumulators of %zu rows", pages * OPTIM_PAGE);
    s->n_pages = pages;
    return STATUS_OK;
}

enum status gate_snapshot_take(struct gate_snapshot *s, const struct gate_line *l, struct err *e)
{
    struct optim_page page;
    gate_snapshot_drop(s);
    TRY(need_room(s, l->optim, e));
    param_here(l->params);
    memcpy(s->params->w, l->params->w, s->t->total * sizeof *s->params->w);
    param_touch(s->params);
    for (size_t i = 0; i < s->n_pages; i++) {
        optim_page_get(l->optim, l->params, i, &page);
        memcpy(s->acc + i * OPTIM_PAGE, page.acc, sizeof page.acc);
    }
    buf_clear(&s->moments);
    buf_clear(&s->run);
    optim_encode(&s->moments, l->optim);
    if (l->run != NULL) model_run_encode(&s->run, l->run);
    TRY(buf_status(&s->moments, e));
    TRY(buf_status(&s->run, e));
    s->there = s->changed = true;
    return STATUS_OK;
}

/* As it was; rows beyond the table's end as the optimiser gives them. */
static void page_of(const struct gate_snapshot *s, size_t i, struct optim_page *out)
{
    const size_t n_rows = s->t->total - n_dense(s), at = i * OPTIM_PAGE;
    const size_t n = n_rows - at < OPTIM_PAGE ? n_rows - at : OPTIM_PAGE;
    memset(out->w, 0, sizeof out->w);
    memcpy(out->w, s->params->w + n_dense(s) + at, n * sizeof *out->w);
    memcpy(out->acc, s->acc + at, sizeof out->acc);
}

static enum status restore_pages(const struct gate_snapshot *s, const struct gate_line *l, struct err *e)
{
    struct optim_page then, now;
    for (size_t i = 0; i < s->n_pages; i++) {
        page_of(s, i, &then);
        optim_page_get(l->optim, l->params, i, &now);
        if (memcmp(&then, &now, sizeof then) == 0) continue;
        TRY(optim_page_put(l->optim, l->params, i, &then, e));
        optim_page_touch(l->optim, i);
    }
    return STATUS_OK;
}

enum status gate_snapshot_restore(const struct gate_snapshot *s, const struct gate_line *l, struct err *e)
{
    if (!s->there) return ERR_SET(e, STATUS_INVALID, "gate: nothing to go back to");
    param_here(l->params);
    struct buf_reader moments = buf_reader(s->moments.p, s->moments.n), run = buf_reader(s->run.p, s->run.n);
    TRY(optim_decode(l->optim, &moments, e));
    if (l->run != NULL) TRY(model_run_decode(l->run, &run, e));
    TRY(restore_pages(s, l, e));
    memcpy(l->params->w, s->params->w, n_dense(s) * sizeof *l->params->w);
    param_touch(l->params);
    return STATUS_OK;
}

size_t gate_snapshot_bytes(const struct param_table *t)
{
    const size_t dense = t->group_first[PARAM_SPARSE], sparse = t->total - dense;
    return (dense + 2 * dense + sparse + (sparse + OPTIM_PAGE - 1) / OPTIM_PAGE * OPTIM_PAGE) * sizeof(float);
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

static struct str key_of(char out[64], const char *name, const char *what, size_t i)
{
    const int n = snprintf(out, 64, "%s/%s/%zu", name, what, i);
    return (struct str){out, n > 0 && n < 64 ? (size_t)n : 0};
}

static enum status put_pieces(struct store_txn *t, const char *name, const char *what, const void *p, size_t n,
                              struct err *e)
{
    char key[64];
    for (size_t at = 0; at < n; at += PIECE) {
        const struct str piece = {(const char *)p + at, n - at < PIECE ? n - at : PIECE};
        TRY(store_put(t, STORE_LEARNER, key_of(key, name, what, at / PIECE), piece, e));
    }
    return STATUS_OK;
}

static enum status get_pieces(struct store_txn *t, const char *name, const char *what, void *p, size_t n, struct err *e)
{
    char key[64];
    for (size_t at = 0; at < n; at += PIECE) {
        struct str piece;
        const size_t want = n - at < PIECE ? n - at : PIECE;
        const enum status st = store_get(t, STORE_LEARNER, key_of(key, name, what, at / PIECE), &piece, e);
        if (st == STATUS_NOT_FOUND || (st == STATUS_OK && piece.n != want))
            return ERR_SET(e, STATUS_CORRUPT, "state record '%s' is not whole", key);
        TRY(st);
        memcpy((unsigned char *)p + at, piece.p, want);
    }
    return STATUS_OK;
}

/* Pages of one record; false when they are all as they were at first. */
static bool gather_rows(const struct gate_snapshot *s, size_t at, struct buf *b)
{
    static const struct optim_page none = {.w = {0}};
    struct optim_page page;
    bool any = false;
    buf_clear(b);
    for (size_t i = at; i < s->n_pages && i < at + ROW_PAGES; i++) {
        page_of(s, i, &page);
        buf_put(b, &page, sizeof page);
        any = any || memcmp(page.w, none.w, sizeof page.w) != 0;
        for (size_t k = 0; k < OPTIM_PAGE && !any; k++) any = page.acc[k] > 1.0f;
    }
    return any;
}

static enum status put_rows(const struct gate_snapshot *s, struct store_txn *t, const char *name, struct buf *b,
                            struct err *e)
{
    char key[64];
    for (size_t at = 0; at < s->n_pages; at += ROW_PAGES) {
        const struct str k = key_of(key, name, "rows", at / ROW_PAGES);
        const bool any = gather_rows(s, at, b);
        TRY(buf_status(b, e));
        if (any)
            TRY(store_put(t, STORE_LEARNER, k, (struct str){(const char *)b->p, b->n}, e));
        else
            TRY(store_delete(t, STORE_LEARNER, k, e));
    }
    return STATUS_OK;
}

static enum status put_all(const struct gate_snapshot *s, struct store_txn *t, const char *name, struct buf *b,
                           struct err *e)
{
    buf_u32(b, FORMAT);
    buf_u64(b, n_dense(s));
    buf_u64(b, s->n_pages);
    buf_u64(b, s->moments.n);
    buf_u64(b, s->run.n);
    TRY(buf_status(b, e));
    TRY(store_put(t, STORE_LEARNER, str_from(name), (struct str){(const char *)b->p, b->n}, e));
    TRY(put_pieces(t, name, "dense", s->params->w, n_dense(s) * sizeof(float), e));
    TRY(put_pieces(t, name, "moments", s->moments.p, s->moments.n, e));
    TRY(put_pieces(t, name, "run", s->run.p, s->run.n, e));
    return put_rows(s, t, name, b, e);
}

struct forgetting {
    struct str prefix;
    struct buf keys;
};

/* END: beyond the prefix. */
static enum status list_key(void *user, struct str key, struct str value, struct err *e)
{
    struct forgetting *f = user;
    (void)value;
    if (key.n < f->prefix.n || memcmp(key.p, f->prefix.p, f->prefix.n) != 0) return STATUS_END;
    buf_str(&f->keys, key);
    return buf_status(&f->keys, e);
}

enum status gate_snapshot_forget(struct store_txn *t, const char *name, struct err *e)
{
    char prefix[64];
    struct forgetting f = {.prefix = {prefix, (size_t)snprintf(prefix, sizeof prefix, "%s/", name)}};
    enum status st = store_each_from(t, STORE_LEARNER, f.prefix, list_key, &f, e);
    if (st == STATUS_END) st = STATUS_OK;
    struct buf_reader r = buf_reader(f.keys.p, f.keys.n);
    while (st == STATUS_OK && buf_left(&r) > 0) st = store_delete(t, STORE_LEARNER, buf_get_str(&r), e);
    if (st == STATUS_OK) st = store_delete(t, STORE_LEARNER, str_from(name), e);
    buf_fini(&f.keys);
    return st;
}

enum status gate_snapshot_save(const struct gate_snapshot *s, struct store_txn *t, const char *name, struct err *e)
{
    struct buf b = {0};
    if (!s->changed) return STATUS_OK;
    if (!s->there) return store_delete(t, STORE_LEARNER, str_from(name), e);
    const enum status st = put_all(s, t, name, &b, e);
    buf_fini(&b);
    return st;
}

void gate_snapshot_saved(struct gate_snapshot *s)
{
    s->changed = false;
}

static enum status get_rows(struct gate_snapshot *s, struct store_txn *t, const char *name, struct err *e)
{
    char key[64];
    float *w = s->params->w + n_dense(s);
    const size_t n_rows = s->t->total - n_dense(s);
    for (size_t i = 0; i < s->n_pages * OPTIM_PAGE; i++) s->acc[i] = 1.0f;
    memset(w, 0, n_rows * sizeof *w);
    for (size_t at = 0; at < s->n_pages; at += ROW_PAGES) {
        struct str v;
        const size_t n = s->n_pages - at < ROW_PAGES ? s->n_pages - at : ROW_PAGES;
        const enum status st = store_get(t, STORE_LEARNER, key_of(key, name, "rows", at / ROW_PAGES), &v, e);
        if (st == STATUS_NOT_FOUND) continue;
        TRY(st);
        if (v.n != n * sizeof(struct optim_page)) return ERR_SET(e, STATUS_CORRUPT, "state record '%s'", key);
        for (size_t i = 0; i < n; i++) {
            struct optim_page page;
            const size_t row = (at + i) * OPTIM_PAGE, left = n_rows - row;
            memcpy(&page, v.p + i * sizeof page, sizeof page);
            memcpy(w + row, page.w, (left < OPTIM_PAGE ? left : OPTIM_PAGE) * sizeof *w);
            memcpy(s->acc + row, page.acc, sizeof page.acc);
        }
    }
    return STATUS_OK;
}

static enum status get_buf(struct store_txn *t, const char *name, const char *what, struct buf *b, uint64_t n,
                           struct err *e)
{
    buf_clear(b);
    if (n == 0) return STATUS_OK;
    void *room = buf_room(b, (size_t)n);
    TRY(buf_status(b, e));
    return get_pieces(t, name, what, room, (size_t)n, e);
}

static enum status get_all(struct gate_snapshot *s, struct store_txn *t, const char *name, struct buf_reader *r,
                           struct err *e)
{
    const uint64_t format = buf_get_u32(r), dense = buf_get_u64(r), pages = buf_get_u64(r), moments = buf_get_u64(r),
                   run = buf_get_u64(r);
    const size_t most = gate_snapshot_bytes(s->t) + ((size_t)1 << 20);
    if (r->bad || format != FORMAT || dense != n_dense(s) || pages != s->n_pages || moments > most || run > most)
        return ERR_SET(e, STATUS_CORRUPT, "state record '%s' is of another model", name);
    TRY(get_pieces(t, name, "dense", s->params->w, n_dense(s) * sizeof(float), e));
    TRY(get_buf(t, name, "moments", &s->moments, moments, e));
    TRY(get_buf(t, name, "run", &s->run, run, e));
    TRY(get_rows(s, t, name, e));
    if (param_first_not_finite(s->params->w, s->t->total) < s->t->total)
        return ERR_SET(e, STATUS_CORRUPT, "state record '%s': a number is not finite", name);
    param_touch(s->params);
    return STATUS_OK;
}

enum status gate_snapshot_load(struct gate_snapshot *s, struct store_txn *t, const char *name, const struct optim *o,
                               struct err *e)
{
    struct str v;
    s->there = s->changed = false;
    const enum status st = store_get(t, STORE_LEARNER, str_from(name), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader r = buf_reader(v.p, v.n);
    TRY(need_room(s, o, e));
    TRY(get_all(s, t, name, &r, e));
    s->there = true;
    return STATUS_OK;
}
