/* world_table.c - linear probing, at most two thirds full, removal by shifting back.
 *
 * What leaves the old size while it is being moved leaves a mark behind, so that searches go on past it.
 */
#include "featurize/world_table.h"
#include "base/mem.h"
#include <assert.h>
#include <stdbool.h>

#define MOVES_PER_ADD 8 /* old slots; the next doubling is two thirds of the old size away */

static char gone; /* its address in old: an entry was here */

void world_table_fini(struct world_table *t)
{
    mem_free(t->slots);
    mem_free(t->old);
    *t = (struct world_table){0};
}

static void *find_in(const struct world_slot *slots, size_t mask, const struct str *id, uint64_t hash)
{
    if (slots == NULL) return NULL;
    for (size_t i = hash & mask; slots[i].entry != NULL; i = (i + 1) & mask)
        if (slots[i].hash == hash && slots[i].entry != &gone &&
            (id == NULL || str_eq(*(const struct str *)slots[i].entry, *id)))
            return slots[i].entry;
    return NULL;
}

static void *find(const struct world_table *t, const struct str *id, uint64_t hash)
{
    void *entry = find_in(t->slots, t->mask, id, hash);
    return entry != NULL || t->old == NULL ? entry : find_in(t->old, t->old_mask, id, hash);
}

void *world_table_find(const struct world_table *t, struct str id, uint64_t hash)
{
    return find(t, &id, hash);
}

void *world_table_find_hash(const struct world_table *t, uint64_t hash)
{
    return find(t, NULL, hash);
}

void world_table_ahead(const struct world_table *t, uint64_t hash)
{
    if (t->slots != NULL) __builtin_prefetch(&t->slots[hash & t->mask]);
    if (t->old != NULL) __builtin_prefetch(&t->old[hash & t->old_mask]);
}

static void put(struct world_table *t, void *entry, uint64_t hash)
{
    size_t i = hash & t->mask;
    while (t->slots[i].entry != NULL) i = (i + 1) & t->mask;
    t->slots[i] = (struct world_slot){hash, entry};
}

static void move(struct world_table *t, size_t n)
{
    if (t->old == NULL) return;
    for (; n > 0 && t->moved <= t->old_mask; n--, t->moved++) {
        struct world_slot *s = &t->old[t->moved];
        if (s->entry == NULL || s->entry == &gone) continue;
        put(t, s->entry, s->hash);
        s->entry = &gone;
    }
    if (t->moved <= t->old_mask) return;
    mem_free(t->old);
    t->old = NULL;
}

int world_table_reserve(struct world_table *t, size_t n)
{
    size_t n_slots = t->slots ? t->mask + 1 : 64;
    while (n_slots / 3 * 2 < n) {
        if (n_slots > SIZE_MAX / 4) return -1;
        n_slots *= 2;
    }
    if (t->slots != NULL && n_slots == t->mask + 1) return 0;
    struct world_slot *bigger = mem_calloc(n_slots, sizeof *bigger);
    if (bigger == NULL) return -1;
    mem_expect_random(bigger, n_slots * sizeof *bigger);
    move(t, SIZE_MAX);
    t->old = t->slots;
    t->old_mask = t->mask;
    t->moved = 0;
    t->slots = bigger;
    t->mask = n_slots - 1;
    return 0;
}

void world_table_add(struct world_table *t, void *entry, uint64_t hash)
{
    assert(t->slots != NULL && t->n < t->mask);
    move(t, MOVES_PER_ADD);
    put(t, entry, hash);
    t->n++;
}

/* True when it was in the old size, where it leaves its mark. */
static bool remove_old(struct world_table *t, const void *entry, uint64_t hash)
{
    if (t->old == NULL) return false;
    size_t i = hash & t->old_mask;
    while (t->old[i].entry != entry && t->old[i].entry != NULL) i = (i + 1) & t->old_mask;
    if (t->old[i].entry == NULL) return false;
    t->old[i].entry = &gone;
    return true;
}

void world_table_remove(struct world_table *t, const void *entry, uint64_t hash)
{
    t->n--;
    if (remove_old(t, entry, hash)) return;
    size_t hole = hash & t->mask;
    while (t->slots[hole].entry != entry) {
        assert(t->slots[hole].entry != NULL);
        hole = (hole + 1) & t->mask;
    }
    /* Whoever probed past the hole moves into it, unless it would land before its own place. */
    for (size_t i = (hole + 1) & t->mask; t->slots[i].entry != NULL; i = (i + 1) & t->mask) {
        const size_t home = t->slots[i].hash & t->mask;
        if (((i - home) & t->mask) < ((i - hole) & t->mask)) continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole] = (struct world_slot){0, NULL};
}
