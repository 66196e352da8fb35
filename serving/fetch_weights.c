/* fetch_weights.c - see fetch_weights.h. */
#include "serving/fetch_weights.h"
#include "schemas/key.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNKS_IN_FLIGHT 4

void fetch_weights_fini(struct fetch_weights *f)
{
    publish_manifest_fini(&f->last);
    param_set_release(f->params);
    param_set_release(f->idle);
    buf_fini(&f->whole);
    arena_fini(&f->arena);
    f->params = f->idle = NULL;
}

/* --- where a chunk's numbers belong ------------------------------------------------------------------------------- */

static size_t chunks_of(uint64_t bytes)
{
    return (size_t)((bytes + PUBLISH_CHUNK_BYTES - 1) / PUBLISH_CHUNK_BYTES);
}

static enum status wrong_length(const struct publish_manifest *m, size_t i, uint64_t want, struct err *e)
{
    return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": chunk %zu has %zu bytes, its place is one of %" PRIu64,
                   m->version, i, m->chunks[i].bytes, want);
}

/* Bytes that chunk `at` of a piece of n bytes must have. */
static uint64_t part(uint64_t n, size_t at)
{
    const uint64_t left = n - at * (uint64_t)PUBLISH_CHUNK_BYTES;
    return left < PUBLISH_CHUNK_BYTES ? left : PUBLISH_CHUNK_BYTES;
}

static enum status check_finite(const float *x, size_t n, size_t first, struct err *e)
{
    const size_t bad = param_first_not_finite(x, n);
    return bad == n ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "weights: number %zu is not finite", first + bad);
}

static enum status place_dense(struct fetch_weights *f, const struct publish_manifest *m, size_t i, struct str bytes,
                               struct param_set *p, struct err *e)
{
    size_t first;
    const uint64_t want = part(weights_dense_bytes(&f->head), i);
    if (bytes.n != want) return wrong_length(m, i, want, e);
    if (i == 0 && memcmp(bytes.p, f->head_bytes, f->head.head_bytes) != 0) {
        f->stage = METRIC_FETCH_FILE; /* what was kept is laid out otherwise */
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": its head is another than the last version's",
                       m->version);
    }
    const size_t n = weights_dense_take(&f->head, i * (uint64_t)PUBLISH_CHUNK_BYTES, bytes.p, bytes.n, p->w, &first);
    return check_finite(p->w + first, n, first, e);
}

/* Chunk i, checked already, into p. */
static enum status place(struct fetch_weights *f, const struct publish_manifest *m, size_t i, struct str bytes,
                         struct param_set *p, struct err *e)
{
    const size_t n_rows = p->n - (size_t)f->head.n_dense, n_dense = chunks_of(weights_dense_bytes(&f->head));
    const size_t n_base = chunks_of(n_rows * sizeof *p->w);
    float *rows = p->w + f->head.n_dense;
    if (i < n_dense) return place_dense(f, m, i, bytes, p, e);
    if (i >= n_dense + n_base) return weights_rows_decode(bytes.p, bytes.n, rows, n_rows, e);
    const uint64_t want = part(n_rows * sizeof *rows, i - n_dense);
    if (bytes.n != want) return wrong_length(m, i, want, e);
    rows += (i - n_dense) * (PUBLISH_CHUNK_BYTES / sizeof *rows);
    memcpy(rows, bytes.p, bytes.n);
    return check_finite(rows, bytes.n / sizeof *rows, (size_t)(rows - p->w), e);
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static bool had_before(const struct fetch_weights *f, const struct publish_manifest *m, size_t i)
{
    return i < f->last.n_chunks && f->last.chunks[i].bytes == m->chunks[i].bytes &&
           strcmp(f->last.chunks[i].sha256, m->chunks[i].sha256) == 0;
}

static size_t key_of(const struct fetch_weights *f, const struct publish_manifest *m, size_t i, char key[KEY_MAX])
{
    return key_chunk(key, f->name, m->chunks[i].version, (uint32_t)i);
}

static enum status ask(struct fetch_weights *f, const struct publish_manifest *m, size_t i, struct err *e)
{
    char key[KEY_MAX], last[24];
    (void)key_of(f, m, i, key);
    (void)snprintf(last, sizeof last, "%zu", PUBLISH_CHUNK_BYTES); /* a byte more than it may have: seen as wrong */
    return redis_append(f->redis, e, REDIS_ARGS(STR("GETRANGE"), str_from(key), STR("0"), str_from(last)));
}

/* The chunk that was asked for, its length and SHA-256 being those of the manifest. */
static enum status answer(struct fetch_weights *f, const struct publish_manifest *m, size_t i, struct str *bytes,
                          struct err *e)
{
    const struct redis_reply *reply;
    const struct publish_chunk *c = &m->chunks[i];
    char hex[HASH_SHA256_HEX], key[KEY_MAX];
    TRY(redis_get(f->redis, e, &reply));
    (void)key_of(f, m, i, key);
    if (reply->kind != REDIS_TEXT || reply->text.n != c->bytes)
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": chunk %zu has %zu bytes, expected %zu (%s)", m->version,
                       i, reply->kind == REDIS_TEXT ? reply->text.n : 0, c->bytes, key);
    TRY(hash_sha256_of(reply->text.p, reply->text.n, hex, e));
    if (strcmp(hex, c->sha256) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": chunk %zu has SHA-256 %s, expected %s (%s)", m->version,
                       i, hex, c->sha256, key);
    *bytes = reply->text;
    f->fetched_bytes += reply->text.n;
    return STATUS_OK;
}

/* Each chunk but those that are kept goes to `take`, in order. */
typedef enum status (*take_fn)(struct fetch_weights *f, const struct publish_manifest *m, size_t i, struct str bytes,
                               struct param_set *p, struct err *e);
static enum status each_chunk(struct fetch_weights *f, const struct publish_manifest *m, size_t from, bool keep,
                              take_fn take, struct param_set *p, struct err *e)
{
    size_t asked[CHUNKS_IN_FLIGHT];
    for (size_t i = from; i < m->n_chunks;) {
        size_t n = 0;
        f->stage = METRIC_FETCH_CHUNK;
        if (f->cancelled != NULL && atomic_load(f->cancelled)) return ERR_SET(e, STATUS_IO, "the scorer is going down");
        for (; i < m->n_chunks && n < CHUNKS_IN_FLIGHT; i++) {
            if (keep && had_before(f, m, i)) continue;
            TRY(ask(f, m, i, e));
            asked[n++] = i;
        }
        for (size_t k = 0; k < n; k++) {
            struct str bytes;
            f->stage = METRIC_FETCH_CHUNK;
            TRY(answer(f, m, asked[k], &bytes, e));
            TRY(take(f, m, asked[k], bytes, p, e));
        }
        redis_clear(f->redis);
    }
    return STATUS_OK;
}

/* --- a version in one piece --------------------------------------------------------------------------------------- */

static enum status append(struct fetch_weights *f, const struct publish_manifest *m, size_t i, struct str bytes,
                          struct param_set *p, struct err *e)
{
    (void)m, (void)i, (void)p;
    buf_put(&f->whole, bytes.p, bytes.n);
    return buf_status(&f->whole, e);
}

static enum status get_whole(struct fetch_weights *f, const struct publish_manifest *m, struct param_set *p,
                             struct err *e)
{
    struct weights_view view;
    const struct param_table *t = model_table(f->model);
    if (buf_room(&f->whole, m->bytes) != NULL) f->whole.n -= m->bytes; /* at once, not by doubling */
    TRY(each_chunk(f, m, 1, false, append, p, e));
    f->stage = METRIC_FETCH_FILE;
    arena_reset(&f->arena);
    TRY(weights_decode(&view, f->whole.p, f->whole.n, true, &f->arena, e));
    if (view.version != m->version || strcmp(view.sha256, m->sha256) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": its weight file is that of version %" PRIu64,
                       m->version, view.version);
    f->stage = METRIC_FETCH_PARAMETERS;
    return param_from_view(t, &view, model_fingerprint(f->model), p, e);
}

/* --- a version in pieces ------------------------------------------------------------------------------------------ */

static enum status check_head(struct fetch_weights *f, struct err *e)
{
    const struct param_table *t = model_table(f->model);
    f->stage = METRIC_FETCH_PARAMETERS;
    TRY(param_fits(t, &f->head.view, model_fingerprint(f->model), e));
    if (f->head.n_dense != t->group_first[PARAM_SPARSE] || f->head.n_short > t->group_first[PARAM_STAT])
        return ERR_SET(e, STATUS_INVALID, "weights: %" PRIu64 " dense numbers, %" PRIu64 " short; the model has %zu",
                       f->head.n_dense, f->head.n_short, t->group_first[PARAM_SPARSE]);
    return STATUS_OK;
}

static enum status check_sha(const struct publish_manifest *m, struct param_set *p, struct err *e)
{
    TRY(param_sha256(p, e));
    if (strcmp(p->sha256, m->sha256) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": the parameters of its weight pieces hash to %s, not to %s",
                   m->version, p->sha256, m->sha256);
}

/* Every chunk that was read has its SHA-256; here that they were put together as they should, which a hash of the rows tells
 * as well, at a tenth of the time. */
static enum status check_rows(struct fetch_weights *f, const struct publish_manifest *m, struct param_set *p,
                              struct err *e)
{
    const size_t n = p->n - (size_t)f->head.n_dense;
    const uint64_t got = hash_bytes(p->w + f->head.n_dense, n * sizeof *p->w);
    memcpy(p->sha256, m->rounded ? "" : m->sha256, m->rounded ? 1 : sizeof p->sha256);
    if (n == 0 || (m->has_rows && got == m->rows_xxh3)) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT,
                   "version %" PRIu64 ": base and touched rows of its weight pieces come to %016" PRIx64
                   ", not to %016" PRIx64,
                   m->version, got, m->rows_xxh3);
}

/* From chunk `from` on; keep: over the numbers of the last version. */
static enum status get_pieces(struct fetch_weights *f, const struct publish_manifest *m, size_t from, bool keep,
                              struct param_set *p, struct err *e)
{
    param_touch(p);
    p->version = m->version;
    TRY(each_chunk(f, m, from, keep, place, p, e));
    const size_t least =
        chunks_of(weights_dense_bytes(&f->head)) + chunks_of((p->n - (size_t)f->head.n_dense) * sizeof *p->w);
    if (m->n_chunks < least)
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": %zu chunks, at least %zu are needed", m->version,
                       m->n_chunks, least);
    f->stage = METRIC_FETCH_FILE;
    return keep || m->rounded ? check_rows(f, m, p, e) : check_sha(m, p, e);
}

static enum status get_kept(struct fetch_weights *f, const struct publish_manifest *m, struct param_set *p,
                            struct err *e)
{
    memcpy(p->w, f->params->w, p->n * sizeof *p->w);
    return get_pieces(f, m, 0, true, p, e);
}

/* All of it.  The first chunk says what the others are. */
static enum status get_all(struct fetch_weights *f, const struct publish_manifest *m, struct param_set *p,
                           struct err *e)
{
    struct str first;
    f->stage = METRIC_FETCH_CHUNK;
    publish_manifest_fini(&f->last); /* head and arena are about to be another's */
    buf_clear(&f->whole);
    TRY(ask(f, m, 0, e));
    TRY(answer(f, m, 0, &first, e));
    if (!weights_dense_is(first.p, first.n)) {
        TRY(append(f, m, 0, first, p, e));
        return get_whole(f, m, p, e);
    }
    f->stage = METRIC_FETCH_FILE;
    arena_reset(&f->arena);
    TRY(weights_dense_decode(&f->head, first.p, first.n, &f->arena, e));
    TRY(check_head(f, e));
    f->head_bytes = arena_alloc(&f->arena, 1, f->head.head_bytes);
    if (f->head_bytes == NULL) return ERR_SET(e, STATUS_OOM, "fetch: no memory for a head");
    memcpy(f->head_bytes, first.p, f->head.head_bytes);
    TRY(place(f, m, 0, first, p, e));
    return get_pieces(f, m, 1, false, p, e);
}

/* The same head: its first chunk is laid out as the last one's was. */
static bool may_keep(const struct fetch_weights *f, const struct publish_manifest *m)
{
    return f->params != NULL && f->last.n_chunks > 0 && m->n_chunks > 0 &&
           f->last.chunks[0].bytes == m->chunks[0].bytes;
}

static enum status room(struct fetch_weights *f, struct param_set **out, struct err *e)
{
    *out = f->idle;
    f->idle = NULL;
    if (*out != NULL && atomic_load(&(*out)->refs) == 1) return STATUS_OK;
    param_set_release(*out);
    return param_set_new(out, model_table(f->model), e);
}

enum status fetch_weights_get(struct fetch_weights *f, const struct publish_manifest *m, struct param_set **out,
                              struct err *e)
{
    struct param_set *p = NULL;
    *out = NULL;
    f->fetched_bytes = 0;
    if (m->n_chunks == 0) return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 " has no chunks", m->version);
    TRY(room(f, &p, e));
    const bool keep = may_keep(f, m);
    enum status st = keep ? get_kept(f, m, p, e) : get_all(f, m, p, e);
    if (keep && st == STATUS_CORRUPT && f->stage == METRIC_FETCH_FILE) { /* another line, or older than the last one */
        redis_clear(f->redis);
        st = get_all(f, m, p, e);
    }
    if (st == STATUS_OK)
        *out = p;
    else
        f->idle = p;
    return st;
}

/* The block of the version before is written over once its readers are gone. */
void fetch_weights_keep(struct fetch_weights *f, struct publish_manifest *m, struct param_set *p)
{
    publish_manifest_fini(&f->last);
    f->last = *m;
    f->last.offsets = NULL, f->last.n_offsets = 0;
    f->last.kept = NULL, f->last.n_kept = 0;
    m->chunks = NULL, m->n_chunks = 0;
    param_set_release(f->idle);
    f->idle = f->params;
    f->params = p;
    param_set_acquire(p);
    if (f->whole.n > 0) publish_manifest_fini(&f->last); /* one file: nothing of it can be kept */
    buf_fini(&f->whole);
}
