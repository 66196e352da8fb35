/* order_map.h - a hash table from 64-bit hashes to 32-bit indices, for the tables of this room.
 *
 * Open addressing, linear probing, deletion by shifting back (no tombstones, so it stays fast for ever).  Zeroed is a valid
 * empty map.  Keys are hashes already; 0 is a key like any other.  Not for other rooms.
 */
#ifndef INGEST_ORDER_MAP_H
#define INGEST_ORDER_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDER_MAP_NONE UINT32_MAX

struct order_map {
    struct {
        uint64_t key;
        uint32_t value, used;
    } * slots;
    size_t n, mask; /* mask + 1 slots, a power of two; at most 5/8 used */
};
void order_map_fini(struct order_map *m);
uint32_t order_map_get(const struct order_map *m, uint64_t key);       /* ORDER_MAP_NONE: absent */
bool order_map_put(struct order_map *m, uint64_t key, uint32_t value); /* replaces; false: out of memory, m as before */
bool order_map_reserve(struct order_map *m, size_t n);                 /* so that puts up to n keys can't fail */
void order_map_remove(struct order_map *m, uint64_t key);
#endif
