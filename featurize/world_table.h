/* world_table.h - id → entry: the hash table under the catalogue and the users.
 *
 * Open addressing with linear probing; an entry is anything that begins with its `struct str id` and stays where it is while it is
 * in the table.  The table owns slots only, never entries.  It grows without a pause: after a doubling both sizes are
 * searched, and each new entry moves a few old slots.  Zeroed is a valid empty table.
 */
#ifndef FEATURIZE_WORLD_TABLE_H
#define FEATURIZE_WORLD_TABLE_H
#include "base/str.h"
#include <stddef.h>
#include <stdint.h>

struct world_slot {
    uint64_t hash;
    void *entry; /* NULL: free */
};
struct world_table {
    struct world_slot *slots;
    size_t mask, n;         /* mask + 1 slots when slots is not NULL */
    struct world_slot *old; /* the size before, while it is being moved; NULL: all is in slots */
    size_t old_mask, moved; /* old slots below this one are empty */
};
void world_table_fini(struct world_table *t);
void *world_table_find(const struct world_table *t, struct str id, uint64_t hash); /* hash = hash_str(id); or NULL */
void *world_table_find_hash(const struct world_table *t, uint64_t hash);           /* by the id's hash alone; or NULL */
void world_table_ahead(const struct world_table *t,
                       uint64_t hash);                    /* that hash will be looked for soon: fetch its slot */
int world_table_reserve(struct world_table *t, size_t n); /* room for n entries; -1: out of memory, nothing changed */
/* Adds an entry whose id is not there yet; room must have been reserved. */
void world_table_add(struct world_table *t, void *entry, uint64_t hash);
void world_table_remove(struct world_table *t, const void *entry, uint64_t hash); /* must be there */
#endif
