/* catalogue.c - the table of items and its rows.  Attributes: catalogue_attrs.c; blocks of parts: catalogue_parts.c. */
#include "featurize/catalogue.h"
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/catalogue_parts.h"
#include <math.h>

void catalogue_init(struct catalogue *c, size_t limit)
{
    *c = (struct catalogue){.limit = limit};
}

void catalogue_fini(struct catalogue *c)
{
    for (size_t i = 0; i < c->n_rows; i++) {
        if (c->rows[i] == NULL) continue;
        mem_free(catalogue_of(c->rows[i])->parts);
        mem_free(c->rows[i]);
    }
    mem_free(c->rows);
    mem_free(c->pack);
    arena_fini(&c->scratch);
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
    if (world_table_reserve(&c->table, c->table.n + 1) != 0 || MEM_GROW(c->rows, &c->cap_rows, rows) != 0)
        return ERR_SET(e, STATUS_OOM, "catalogue: out of memory for %zu items; lower catalogue.items", rows);
    return STATUS_OK;
}

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "catalogue: out of memory for an item; lower catalogue.items");
}

enum status catalogue_close(struct catalogue *c, struct err *e)
{
    if (c->open == NULL) return STATUS_OK;
    if (arena_used(&c->scratch)) {
        const size_t need = catalogue_parts_bytes(&c->open->record);
        if (mem_grow(&c->pack, &c->cap_pack, need, 1) != 0 || !catalogue_parts_put(c->open, &c->open->record, c->pack))
            return oom(e);
        arena_reset(&c->scratch);
    }
    c->open = NULL;
    return STATUS_OK;
}

enum status catalogue_edit(struct catalogue *c, struct record_item *i, struct err *e)
{
    if (c->open == catalogue_of(i)) return STATUS_OK;
    TRY(catalogue_close(c, e));
    c->open = catalogue_of(i);
    return STATUS_OK;
}

static void enter(struct catalogue *c, struct catalogue_item *i)
{
    c->rows[i->record.row] = &i->record;
    world_table_add(&c->table, i, i->record.hash);
}

enum status catalogue_add(struct catalogue *c, struct str id, int64_t time_ms, struct record_item **out, struct err *e)
{
    *out = NULL;
    TRY(catalogue_close(c, e));
    TRY(reserve(c, c->n_rows + 1, e));
    struct catalogue_item *i = mem_calloc(1, sizeof *i);
    const struct str name = arena_str(&c->scratch, id);
    if (i == NULL || name.p == NULL) {
        mem_free(i);
        return oom(e);
    }
    i->record = (struct record_item){.scratch = &c->scratch,
                                     .id = name,
                                     .hash = hash_str(id),
                                     .row = (uint32_t)c->n_rows++,
                                     .first_ms = time_ms,
                                     .last_ms = time_ms,
                                     .price = NAN};
    enter(c, i);
    c->open = i;
    *out = &i->record;
    return STATUS_OK;
}

/* The record and its parts into i; it is left fini'd. */
static enum status copy_in(struct catalogue *c, struct catalogue_item *i, struct record_item *take_item, struct err *e)
{
    const size_t need = catalogue_parts_bytes(take_item);
    if (mem_grow(&c->pack, &c->cap_pack, need, 1) != 0 || !catalogue_parts_put(i, take_item, c->pack)) return oom(e);
    i->record.scratch = &c->scratch;
    record_item_fini(take_item);
    return STATUS_OK;
}

enum status catalogue_put(struct catalogue *c, struct record_item *take_item, struct err *e)
{
    const size_t row = take_item->row;
    if ((row < c->n_rows && c->rows[row] != NULL) || catalogue_find(c, take_item->id) != NULL)
        return ERR_SET(e, STATUS_CORRUPT, "catalogue: item '" STR_FMT "' or its row %zu is stored twice",
                       STR_ARG(take_item->id), row);
    TRY(reserve(c, row < c->n_rows ? c->n_rows : row + 1, e));
    struct catalogue_item *i = mem_calloc(1, sizeof *i);
    const enum status st = i != NULL ? copy_in(c, i, take_item, e) : oom(e);
    if (st != STATUS_OK) {
        mem_free(i);
        return st;
    }
    for (; c->n_rows <= row; c->n_rows++) c->rows[c->n_rows] = NULL;
    enter(c, i);
    return STATUS_OK;
}

enum status catalogue_replace(struct catalogue *c, struct record_item *i, struct record_item *take_item, struct err *e)
{
    TRY(catalogue_close(c, e));
    TRY(copy_in(c, catalogue_of(i), take_item, e));
    return catalogue_edit(c, i, e);
}

enum status catalogue_check(const struct catalogue *c, struct err *e)
{
    for (size_t i = 0; i < c->n_rows; i++)
        if (c->rows[i] == NULL) return ERR_SET(e, STATUS_CORRUPT, "catalogue: the item of row %zu is not stored", i);
    return STATUS_OK;
}

size_t catalogue_bytes(const struct record_item *i)
{
    return sizeof(struct catalogue_item) + catalogue_of(i)->cap_parts;
}
