/* world_table.c - linear probing, at most two thirds full, removal by shifting back. */
#include "featurize/world_table.h"
#include "base/mem.h"
#include <assert.h>

void world_table_fini(struct world_table *t)
{
    mem_free(t->slots);
    *t = (struct world_table){0};
}

void *world_table_find(const struct world_table *t, struct str id, uint64_t hash)
{
    if (t->slots == NULL) return NULL;
    for (size_t i = hash & t->mask; t->slots[i].entry != NULL; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash && str_eq(*(const struct str *)t->slots[i].entry, id)) return t->slots[i].entry;
    return NULL;
}

void *world_table_find_hash(const struct world_table *t, uint64_t hash)
{
    if (t->slots == NULL) return NULL;
    for (size_t i = hash & t->mask; t->slots[i].entry != NULL; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash) return t->slots[i].entry;
    return NULL;
}

static void put(struct world_table *t, void *entry, uint64_t hash)
{
    size_t i = hash & t->mask;
    while (t->slots[i].entry != NULL) i = (i + 1) & t->mask;
    t->slots[i] = (struct world_slot){hash, entry};
}

int world_table_reserve(struct world_table *t, size_t n)
{
    size_t slots = t->slots ? t->mask + 1 : 64;
    while (slots / 3 * 2 < n) {
        if (slots > SIZE_MAX / 4) return -1;
        slots *= 2;
    }
    if (t->slots != NULL && slots == t->mask + 1) return 0;
    struct world_table bigger = {.slots = mem_calloc(slots, sizeof *bigger.slots), .mask = slots - 1, .n = t->n};
    if (bigger.slots == NULL) return -1;
    for (size_t i = 0; t->slots != NULL && i <= t->mask; i++)
        if (t->slots[i].entry != NULL) put(&bigger, t->slots[i].entry, t->slots[i].hash);
    mem_free(t->slots);
    *t = bigger;
    return 0;
}

void world_table_add(struct world_table *t, void *entry, uint64_t hash)
{
    assert(t->slots != NULL && t->n < t->mask);
    put(t, entry, hash);
    t->n++;
}

void world_table_remove(struct world_table *t, const void *entry, uint64_t hash)
{
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
    t->n--;
}
