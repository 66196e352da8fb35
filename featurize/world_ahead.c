/* world_ahead.c - fetches what a call is about to read, in rounds: table slots, then entries, then their blocks.
 *
 * Each round's addresses come from the round before, so within one all misses are under way at once: a list of 24 candidates
 * waits for memory three times, not a hundred.  Whoever is not found is left to the look-up proper.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/catalogue_parts.h"
#include "featurize/world_private.h"

#define LINE 64
#define REST_LINES 8 /* of a user's block; more come by themselves */

enum status world_ahead_room(struct world *w, size_t n, struct err *e)
{
    if (MEM_GROW(w->ahead, &w->cap_ahead, n) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "world: out of memory for %zu items of one event", n);
}

static void fetch(const void *p, size_t n)
{
    for (size_t at = 0; at < n; at += LINE) __builtin_prefetch((const char *)p + at);
    if (n > 0) __builtin_prefetch((const char *)p + n - 1);
}

/* The block, and the neighbours that are relinked when the user comes to the front. */
static void user_ahead(const struct world_user *u)
{
    const struct world_link *l = &u->links[WORLD_RECENT];
    fetch(u->rest, u->cap_rest < REST_LINES * LINE ? u->cap_rest : REST_LINES * LINE);
    if (l->prev != NULL) __builtin_prefetch(&l->prev->links[WORLD_RECENT]);
    if (l->next != NULL) __builtin_prefetch(&l->next->links[WORLD_RECENT]);
}

void world_ahead(const struct world *w, struct str user, size_t n)
{
    const struct world_table *items = &w->items.table, *users = &w->users.table;
    const uint64_t hash = str_has(user) ? hash_str(user) : 0;
    if (str_has(user)) world_table_ahead(users, hash);
    for (size_t i = 0; i < n; i++) world_table_ahead(items, w->ahead[i]);
    const struct world_user *u = str_has(user) ? world_table_find_hash(users, hash) : NULL;
    if (u != NULL) fetch(u, sizeof *u);
    for (size_t i = 0; i < n; i++) {
        const struct catalogue_item *item = world_table_find_hash(items, w->ahead[i]);
        if (item != NULL) fetch(item, sizeof *item);
    }
    if (u != NULL) user_ahead(u);
    for (size_t i = 0; i < n; i++) {
        const struct catalogue_item *item = world_table_find_hash(items, w->ahead[i]);
        if (item != NULL) catalogue_parts_ahead(item);
    }
}
