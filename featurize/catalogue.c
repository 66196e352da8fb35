/* catalogue.c - the table of items and its rows.  Attributes: catalogue_attrs.c. */
#include "featurize/catalogue.h"
#include "base/hash.h"
#include "base/mem.h"
#include <math.h>

void catalogue_init(struct catalogue *c, size_t limit)
{
    *c = (struct catalogue){.limit = limit};
}

void catalogue_fini(struct catalogue *c)
{
    for (size_t i = 0; i < c->n_rows; i++) {
        if (c->rows[i] == NULL) continue;
        record_item_fini(c->rows[i]);
        mem_free(c->rows[i]);
    }
    mem_free(c->rows);
    world_table_fini(&c->table);
    *c = (struct catalogue){0};
}

struct record_item *catalogue_find(const struct catalogue *c, struct str id)
{
    return world_table_find(&c->table, id, hash_str(id));
}

static enum status reserve(struct catalogue *c, size_t rows, struct err *e)
{
    if (rows > c->limit)
        return ERR_SET(e, STATUS_FULL, "catalogue: %zu items are there, the bound; raise catalogue.items", c->limit);
    if (world_table_reserve(&c->table, c->table.n + 1) != 0 ||
        mem_grow((void **)&c->rows, &c->cap_rows, rows, sizeof *c->rows) != 0)
        return ERR_SET(e, STATUS_OOM, "catalogue: out of memory for %zu items; lower catalogue.items", rows);
    return STATUS_OK;
}

enum status catalogue_add(struct catalogue *c, struct str id, int64_t time_ms, struct record_item **out, struct err *e)
{
    *out = NULL;
    TRY(reserve(c, c->n_rows + 1, e));
    struct record_item *i = mem_calloc(1, sizeof *i);
    char *name = mem_strndup(id.p, id.n);
    if (i == NULL || name == NULL) {
        mem_free(i);
        mem_free(name);
        return ERR_SET(e, STATUS_OOM, "catalogue: out of memory for an item");
    }
    *i = (struct record_item){.id = {name, id.n},
                              .hash = hash_str(id),
                              .row = (uint32_t)c->n_rows,
                              .first_ms = time_ms,
                              .last_ms = time_ms,
                              .price = NAN};
    c->rows[c->n_rows++] = i;
    world_table_add(&c->table, i, i->hash);
    *out = i;
    return STATUS_OK;
}

enum status catalogue_put(struct catalogue *c, struct record_item *take_item, struct err *e)
{
    const size_t row = take_item->row;
    if ((row < c->n_rows && c->rows[row] != NULL) || catalogue_find(c, take_item->id) != NULL)
        return ERR_SET(e, STATUS_CORRUPT, "catalogue: item '" STR_FMT "' or its row %zu is stored twice",
                       STR_ARG(take_item->id), row);
    TRY(reserve(c, row < c->n_rows ? c->n_rows : row + 1, e));
    struct record_item *i = mem_calloc(1, sizeof *i);
    if (i == NULL) return ERR_SET(e, STATUS_OOM, "catalogue: out of memory for an item");
    *i = *take_item;
    *take_item = (struct record_item){0};
    for (; c->n_rows <= row; c->n_rows++) c->rows[c->n_rows] = NULL;
    c->rows[row] = i;
    world_table_add(&c->table, i, i->hash);
    return STATUS_OK;
}

enum status catalogue_check(const struct catalogue *c, struct err *e)
{
    for (size_t i = 0; i < c->n_rows; i++)
        if (c->rows[i] == NULL) return ERR_SET(e, STATUS_CORRUPT, "catalogue: the item of row %zu is not stored", i);
    return STATUS_OK;
}

size_t catalogue_bytes(const struct record_item *i)
{
    size_t n = sizeof *i + i->id.n + 1 + i->n_tallies * sizeof *i->tallies + i->n_ids * sizeof *i->ids;
    for (uint32_t a = 0; a < i->n_attrs; a++) n += sizeof *i->attrs + i->attrs[a].name.n + i->attrs[a].text.n + 2;
    return n;
}
