/* answers.c - see answers.h: a ring in the order of the stream, and a table of its places by request. */
#include "job/answers.h"
#include "base/mem.h"

struct place {
    struct served_answer *x;
    uint32_t open; /* lists that show it and have not settled */
    bool used, again, replaced; /* replaced: by a later answer to the same request */
};
struct slot { /* of the table: open addressing, deletion by shifting back */
    uint64_t request;
    uint32_t place; /* + 1; 0: free */
};
struct answers {
    struct place *ring; /* (capacity) */
    struct slot *slots; /* (mask + 1) at most half full */
    size_t capacity, first, n, bytes, mask;
    uint64_t unmatched;
};

enum status answers_new(struct answers **out, size_t capacity, struct err *e)
{
    size_t slots = 2;
    *out = NULL;
    struct answers *a = mem_calloc(1, sizeof *a);
    if (a == NULL) return ERR_SET(e, STATUS_OOM, "answers: %zu bytes", sizeof *a);
    while (slots < 2 * capacity) slots *= 2;
    a->capacity = capacity;
    a->mask = slots - 1;
    a->ring = mem_calloc(capacity, sizeof *a->ring);
    a->slots = mem_calloc(slots, sizeof *a->slots);
    if (a->ring == NULL || a->slots == NULL) {
        answers_free(a);
        return ERR_SET(e, STATUS_OOM, "answers: room for %zu", capacity);
    }
    *out = a;
    return STATUS_OK;
}

void answers_free(struct answers *a)
{
    if (a == NULL) return;
    for (size_t i = 0; i < a->n; i++) mem_free(a->ring[(a->first + i) % a->capacity].x);
    mem_free(a->ring);
    mem_free(a->slots);
    mem_free(a);
}

/* ---- the table ---- */

static size_t slot_of(const struct answers *a, uint64_t request)
{
    size_t i = (size_t)request & a->mask;
    while (a->slots[i].place != 0 && a->slots[i].request != request) i = (i + 1) & a->mask;
    return i;
}

static void remove_slot(struct answers *a, size_t hole)
{
    for (size_t i = (hole + 1) & a->mask; a->slots[i].place != 0; i = (i + 1) & a->mask) {
        const size_t home = (size_t)a->slots[i].request & a->mask;
        if (((i - home) & a->mask) < ((i - hole) & a->mask)) continue; /* its home lies behind the hole */
        a->slots[hole] = a->slots[i];
        hole = i;
    }
    a->slots[hole].place = 0;
}

static struct place *place_of(const struct answers *a, uint64_t request)
{
    const struct slot *s = &a->slots[slot_of(a, request)];
    return s->place != 0 ? &a->ring[s->place - 1] : NULL;
}

/* ---- the ring ---- */

static size_t bytes_of(const struct served_answer *x)
{
    return sizeof *x + x->n * sizeof x->items[0];
}

static void drop_oldest(struct answers *a)
{
    struct place *p = &a->ring[a->first];
    const size_t slot = slot_of(a, p->x->request);
    if (a->slots[slot].place == a->first + 1) remove_slot(a, slot); /* else a newer answer of the request has it */
    a->unmatched += !p->used && !p->again;
    a->bytes -= bytes_of(p->x);
    mem_free(p->x);
    *p = (struct place){0};
    a->first = (a->first + 1) % a->capacity;
    a->n--;
}

/* Lists that showed the earlier answer settle with the newer one. */
static void replace(struct place *old, struct place *with)
{
    with->open = old->open;
    old->open = 0;
    old->replaced = true;
}

enum status answers_put(struct answers *a, struct served_answer *take_x, bool again, struct err *e)
{
    const size_t bytes = bytes_of(take_x), most = a->capacity * ANSWERS_BYTES;
    if (bytes > most) {
        mem_free(take_x);
        return ERR_SET(e, STATUS_FULL, "answers: one of %zu bytes, there is room for %zu", bytes, most);
    }
    while (a->n == a->capacity || a->bytes + bytes > most) drop_oldest(a);
    const size_t at = (a->first + a->n++) % a->capacity, slot = slot_of(a, take_x->request);
    a->ring[at] = (struct place){.x = take_x, .again = again};
    if (a->slots[slot].place != 0) replace(&a->ring[a->slots[slot].place - 1], &a->ring[at]);
    a->slots[slot] = (struct slot){take_x->request, (uint32_t)at + 1};
    a->bytes += bytes;
    return STATUS_OK;
}

const struct served_answer *answers_find(const struct answers *a, uint64_t request)
{
    const struct place *p = place_of(a, request);
    return p != NULL ? p->x : NULL;
}

void answers_use(struct answers *a, uint64_t request)
{
    struct place *p = place_of(a, request);
    if (p == NULL) return;
    p->used = true;
    p->open++;
}

void answers_settled(struct answers *a, uint64_t request)
{
    struct place *p = place_of(a, request);
    if (p == NULL) return;
    p->used = true;
    p->open -= p->open > 0;
}

uint64_t answers_unmatched(const struct answers *a)
{
    return a->unmatched;
}

struct served_id answers_from(const struct answers *a, struct served_id newest)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct place *p = &a->ring[(a->first + i) % a->capacity];
        if (p->replaced || (p->used && p->open == 0)) continue;
        if (p->x->id.seq > 0) return (struct served_id){p->x->id.ms, p->x->id.seq - 1};
        return (struct served_id){p->x->id.ms - 1, UINT64_MAX};
    }
    return newest;
}
