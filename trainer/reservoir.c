/* reservoir.c - see reservoir.h; reservoir_state.c has it in and out of the store. */
#include "base/mem.h"
#include "base/rand.h"
#include "trainer/reservoir_private.h"
#include <string.h>

#define LARGEST 16 /* of the bytes: the part that one slate may take */
enum { DRAW, OFFER };

enum status reservoir_new(struct reservoir **out, const struct conf *c, struct err *e)
{
    *out = NULL;
    if (c->train_replay_share <= 0) return STATUS_OK;
    const size_t cap = (size_t)c->train_reservoir_slates;
    struct reservoir *r = mem_calloc(1, sizeof *r);
    if (r != NULL) r->places = mem_calloc(cap, sizeof *r->places);
    if (r == NULL || r->places == NULL) {
        reservoir_free(r);
        return ERR_SET(e, STATUS_OOM, "reservoir: %zu places", cap);
    }
    r->conf = c;
    r->cap = cap;
    *out = r;
    return STATUS_OK;
}

void reservoir_free(struct reservoir *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->n; i++) mem_free(r->places[i].bytes);
    mem_free(r->places);
    buf_fini(&r->pack);
    mem_free(r);
}

size_t reservoir_bytes_most(const struct conf *c)
{
    if (c->train_replay_share <= 0) return 0;
    const size_t bytes = (size_t)c->train_reservoir_bytes;
    return bytes + 2 * (bytes / LARGEST) + (size_t)c->train_reservoir_slates * sizeof(struct reservoir_place);
}

static void numbers(struct rand *rand, const struct reservoir *r, uint32_t which, uint64_t n)
{
    rand_init(rand,
              (struct rand_key){
                  .seed = (uint64_t)r->conf->train_seed, .partition = which, .offset = n, .purpose = RAND_REPLAY});
}

/* ---- drawing ---- */

bool reservoir_is_replayed(const struct reservoir *r, const struct slate *s)
{
    return r != NULL && s->n_items > 0 && !(s->items[0].examples > 0.0f);
}

enum status reservoir_draw(struct reservoir *r, struct slate *out, bool *drawn, struct err *e)
{
    struct rand rand;
    *drawn = false;
    if (r == NULL || r->n == 0) return STATUS_OK;
    const double share = r->conf->train_replay_share;
    numbers(&rand, r, DRAW, r->asked++);
    if (!(rand_unit(&rand) < share / (1.0 - share))) return STATUS_OK;
    const struct reservoir_place *p = &r->places[rand_below(&rand, r->n)];
    struct buf_reader from = buf_reader(p->bytes, p->n);
    TRY(slate_decode(out, &from, e));
    for (uint32_t i = 0; i < out->n_items; i++) out->items[i].examples = 0.0f;
    r->replayed++;
    *drawn = true;
    return STATUS_OK;
}

/* ---- taking ---- */

/* The last one takes the place of one that leaves. */
static void leave(struct reservoir *r, size_t i)
{
    r->bytes -= r->places[i].n;
    mem_free(r->places[i].bytes);
    r->places[i] = r->places[--r->n];
    r->places[i].changed = true;
    r->places[r->n] = (struct reservoir_place){.bytes = NULL};
}

static enum status put(struct reservoir *r, size_t i, uint64_t order, struct err *e)
{
    struct reservoir_place *p = &r->places[i];
    unsigned char *bytes = mem_realloc(p->bytes, r->pack.n, 1);
    if (bytes == NULL) return ERR_SET(e, STATUS_OOM, "reservoir: a slate of %zu bytes", r->pack.n);
    memcpy(bytes, r->pack.p, r->pack.n);
    r->bytes += r->pack.n - p->n;
    *p = (struct reservoir_place){bytes, r->pack.n, order, true};
    if (i == r->n) r->n++;
    return STATUS_OK;
}

/* Where the newest of `offered` slates goes; r->cap: nowhere. */
static size_t place_of(const struct reservoir *r, struct rand *rand)
{
    const uint64_t horizon = (uint64_t)r->conf->train_reservoir_horizon;
    if (r->n < r->cap) return r->n;
    uint64_t among = r->offered;
    if (horizon > 0 && among > horizon) among = horizon > r->cap ? horizon : r->cap;
    const uint64_t i = rand_below(rand, among);
    return i < r->cap ? (size_t)i : r->cap;
}

enum status reservoir_offer(struct reservoir *r, const struct slate *s, uint64_t order, struct err *e)
{
    struct rand rand;
    if (r == NULL || s->n_items == 0 || reservoir_is_replayed(r, s)) return STATUS_OK;
    numbers(&rand, r, OFFER, r->offered++);
    const size_t most = (size_t)r->conf->train_reservoir_bytes, at = place_of(r, &rand);
    if (at == r->cap) return STATUS_OK;
    buf_clear(&r->pack);
    slate_encode(&r->pack, s);
    TRY(buf_status(&r->pack, e));
    if (r->pack.n > most / LARGEST) return STATUS_OK;
    TRY(put(r, at, order, e));
    while (r->bytes > most) {
        leave(r, (size_t)rand_below(&rand, r->n));
        r->cap = r->n;
    }
    return STATUS_OK;
}

void reservoir_undo(struct reservoir *r, uint64_t order)
{
    if (r == NULL) return;
    for (size_t i = r->n; i-- > 0;)
        if (r->places[i].order > order) leave(r, i);
}

struct reservoir_counts reservoir_counts(const struct reservoir *r)
{
    if (r == NULL) return (struct reservoir_counts){0};
    return (struct reservoir_counts){r->offered, r->n, r->bytes + r->cap * sizeof *r->places, r->replayed};
}
