/* order_map.c - linear probing with backward-shift deletion (Knuth, TAOCP 6.4, algorithm R). */
#include "ingest/order_map.h"
#include "base/mem.h"
#include <string.h>

void order_map_fini(struct order_map *m)
{
    mem_free(m->slots);
    *m = (struct order_map){0};
}

/* The slot of key, or the free one where it would go. */
static size_t slot_of(const struct order_map *m, uint64_t key)
{
    size_t at = (size_t)(key ^ key >> 32) & m->mask;
    while (m->slots[at].used && m->slots[at].key != key) at = (at + 1) & m->mask;
    return at;
}

uint32_t order_map_get(const struct order_map *m, uint64_t key)
{
    if (m->n == 0) return ORDER_MAP_NONE;
    const size_t at = slot_of(m, key);
    return m->slots[at].used ? m->slots[at].value : ORDER_MAP_NONE;
}

static bool resize(struct order_map *m, size_t n_slots)
{
    struct order_map bigger = {.slots = mem_calloc(n_slots, sizeof *m->slots), .n = m->n, .mask = n_slots - 1};
    if (bigger.slots == NULL) return false;
    for (size_t i = 0; m->slots != NULL && i <= m->mask; i++)
        if (m->slots[i].used) memcpy(&bigger.slots[slot_of(&bigger, m->slots[i].key)], &m->slots[i], sizeof *m->slots);
    mem_free(m->slots);
    *m = bigger;
    return true;
}

static bool grow(struct order_map *m)
{
    return resize(m, m->slots != NULL ? (m->mask + 1) * 2 : 64);
}

bool order_map_reserve(struct order_map *m, size_t n)
{
    size_t n_slots = 64;
    while (n_slots / 8 * 5 < n + 1 && n_slots <= SIZE_MAX / 64) n_slots *= 2;
    return (m->slots != NULL && m->mask + 1 >= n_slots) || resize(m, n_slots);
}

bool order_map_put(struct order_map *m, uint64_t key, uint32_t value)
{
    if (order_map_get(m, key) == ORDER_MAP_NONE) {
        if ((m->slots == NULL || (m->n + 1) * 8 > (m->mask + 1) * 5) && !grow(m)) return false;
        m->n++;
    }
    const size_t at = slot_of(m, key);
    m->slots[at].key = key;
    m->slots[at].value = value;
    m->slots[at].used = 1;
    return true;
}

void order_map_remove(struct order_map *m, uint64_t key)
{
    if (m->n == 0) return;
    size_t hole = slot_of(m, key);
    if (!m->slots[hole].used) return;
    for (size_t at = (hole + 1) & m->mask; m->slots[at].used; at = (at + 1) & m->mask) {
        const size_t home = (size_t)(m->slots[at].key ^ m->slots[at].key >> 32) & m->mask;
        if (((at - home) & m->mask) < ((at - hole) & m->mask)) continue; /* it may not move before its home */
        memcpy(&m->slots[hole], &m->slots[at], sizeof *m->slots);
        hole = at;
    }
    m->slots[hole].used = 0;
    m->n--;
}
