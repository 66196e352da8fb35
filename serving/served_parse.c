/* served_parse.c - one entry of the log of answers, from text to what the learner compares. */
#include "base/hash.h"
#include "base/jsonroom.h"
#include "base/mem.h"
#include "serving/served.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_BYTES ((size_t)64 << 20) /* what an entry's items may take while they are read */

static struct str field(const struct str *fields, size_t n, const char *name)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        if (str_eq(fields[i], str_from(name))) return fields[i + 1];
    return (struct str){NULL, 0};
}

/* A text of a reply has a NUL after it. */
static uint64_t number(struct str text)
{
    return text.p != NULL && text.n > 0 ? strtoull(text.p, NULL, 10) : 0;
}

static int by_item(const void *a, const void *b)
{
    const struct served_item *x = a, *y = b;
    return x->item < y->item ? -1 : x->item > y->item;
}

static bool take_item(const json_t *from, struct served_item *to)
{
    const json_t *id = json_object_get(from, "item"), *logit = json_object_get(from, "logit");
    const char *features = json_string_value(json_object_get(from, "features"));
    if (!json_is_string(id) || !json_is_number(logit)) return false;
    to->item = hash_str((struct str){json_string_value(id), json_string_length(id)});
    to->logit = (float)json_number_value(logit);
    to->features = features != NULL ? (uint32_t)strtoul(features, NULL, 16) : 0;
    return isfinite(to->logit);
}

static enum status take_items(struct served_answer **out, const json_t *items, struct err *e)
{
    const size_t n = json_array_size(items);
    if (!json_is_array(items) || n == 0 || n > SERVED_ITEMS)
        return ERR_SET(e, STATUS_INVALID, "log of answers: an entry whose items are no list of 1 to %d", SERVED_ITEMS);
    struct served_answer *a = mem_calloc(1, sizeof *a + n * sizeof a->items[0]);
    if (a == NULL) return ERR_SET(e, STATUS_OOM, "log of answers: an entry of %zu items", n);
    for (a->n = 0; a->n < n && take_item(json_array_get(items, a->n), &a->items[a->n]);) a->n++;
    if (a->n < n) {
        mem_free(a);
        return ERR_SET(e, STATUS_INVALID, "log of answers: an item without id and logit");
    }
    qsort(a->items, a->n, sizeof a->items[0], by_item);
    *out = a;
    return STATUS_OK;
}

static bool is_read(uint64_t request, double share)
{
    return hash_unit(hash_mix(request, UINT64_C(0x736572766564))) < share; /* "served" */
}

enum status served_parse(struct served_answer **out, const struct str *fields, size_t n, double share, struct err *e)
{
    const struct str request = field(fields, n, "request"), items = field(fields, n, "items"),
                     variant = field(fields, n, "variant");
    *out = NULL;
    if (!str_has(request) || !str_has(items) || variant.n >= CONF_VARIANT_NAME || jsonroom_over(items, DOCUMENT_BYTES))
        return ERR_SET(e, STATUS_INVALID, "log of answers: an entry without request and items, or too large a one");
    if (str_eq(field(fields, n, "shadow"), STR("1")) || !is_read(hash_str(request), share)) return STATUS_NOT_FOUND;
    json_t *list = json_loadb(items.p, items.n, JSON_REJECT_DUPLICATES, NULL);
    const enum status st = take_items(out, list, e);
    json_decref(list);
    TRY(st);
    (*out)->request = hash_str(request);
    (*out)->version = number(field(fields, n, "version"));
    (*out)->time_ms = (int64_t)number(field(fields, n, "time_ms"));
    (void)snprintf((*out)->variant, CONF_VARIANT_NAME, STR_FMT, STR_ARG(variant));
    return STATUS_OK;
}

const struct served_item *served_find(const struct served_answer *a, uint64_t item)
{
    const struct served_item key = {.item = item};
    return bsearch(&key, a->items, a->n, sizeof key, by_item);
}

bool served_before(struct served_id a, struct served_id b)
{
    return a.ms < b.ms || (a.ms == b.ms && a.seq < b.seq);
}
