/* catalogue_attrs.c - attributes from events into records, and what is derived from them (price, hashes).
 *
 * An attribute is kept as the text that sentences show, and as a number where it is one; lists are joined by \x1f.
 */
#include "base/hash.h"
#include "featurize/catalogue.h"
#include <float.h>
#include <math.h>

/* What a behaviour tells about its item; the rest of its fields are its own (quantity, country, ...). */
static bool behaviour_tells(const struct describe *d, const struct event_attr *a)
{
    static const struct str told[] = {{"title", 5}, {"category", 8},     {"brand", 5},
                                      {"tags", 4},  {"description", 11}, {"currency", 8}};
    if (str_eq(a->name, STR("price"))) return a->kind == EVENT_ATTR_NUMBER && a->number > 0;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (str_eq(a->name, told[i])) return true;
    return describe_uses(d, a->name);
}

static size_t joined_bytes(const struct event_attr *a)
{
    size_t n = a->n_list ? a->n_list - 1 : 0;
    for (uint32_t i = 0; i < a->n_list; i++) n += a->list[i].n;
    return n;
}

static char *joined(struct arena *scratch, const struct event_attr *a, size_t n)
{
    char *text = record_part(scratch, n + 1, 1);
    size_t at = 0;
    for (uint32_t i = 0; text != NULL && i < a->n_list; i++) {
        if (i > 0) text[at++] = '\x1f';
        if (a->list[i].n > 0) memcpy(text + at, a->list[i].p, a->list[i].n);
        at += a->list[i].n;
    }
    return text;
}

/* Equal to what is kept, found without building the text. */
static bool same_list(struct str kept, const struct event_attr *a)
{
    if (kept.n != joined_bytes(a)) return false;
    size_t at = 0;
    for (uint32_t i = 0; i < a->n_list; i++) {
        if (i > 0 && kept.p[at++] != '\x1f') return false;
        if (a->list[i].n > 0 && memcmp(kept.p + at, a->list[i].p, a->list[i].n) != 0) return false;
        at += a->list[i].n;
    }
    return true;
}

/* The text of an attribute that is no list. */
static struct str plain_text(const struct event_attr *a, char number[DESCRIBE_NUMBER_MAX])
{
    if (a->kind == EVENT_ATTR_TEXT) return a->text;
    if (a->kind == EVENT_ATTR_BOOL) return a->number != 0 ? STR("true") : STR("false");
    return (struct str){number, describe_number(number, a->number)};
}

/* The number that is kept, found without writing it out: a kept number's text follows from it. */
static bool same_number(const struct record_attr *kept, const struct event_attr *a)
{
    return a->kind == EVENT_ATTR_NUMBER && memcmp(&kept->number, &a->number, sizeof a->number) == 0 &&
           isfinite(a->number) && kept->text.n > 0 && kept->text.p[0] != 't' && kept->text.p[0] != 'f';
}

static struct record_attr *find_or_append(struct arena *scratch, struct record_attr **list, uint32_t *n,
                                          struct str name)
{
    for (uint32_t i = 0; i < *n; i++)
        if (str_eq((*list)[i].name, name)) return &(*list)[i];
    const struct str copy = record_part_text(scratch, name);
    struct record_attr *grown = copy.p ? record_part_grow(scratch, *list, *n, (size_t)*n + 1, sizeof *grown) : NULL;
    if (grown == NULL) {
        record_part_drop(scratch, (void *)(uintptr_t)copy.p);
        return NULL;
    }
    grown[*n] = (struct record_attr){.name = copy, .number = NAN};
    *list = grown;
    return &grown[(*n)++];
}

/* A list's text or a plain one, as a copy in the scratch. */
static struct str kept_text(struct arena *scratch, const struct event_attr *attr, struct str plain)
{
    if (attr->kind != EVENT_ATTR_LIST) return record_part_text(scratch, plain.n ? plain : STR(""));
    const size_t n = joined_bytes(attr);
    return (struct str){joined(scratch, attr, n), n};
}

enum status catalogue_set_attr(struct arena *scratch, struct record_attr **list, uint32_t *n,
                               const struct event_attr *attr, bool *changed, struct err *e)
{
    char number[DESCRIBE_NUMBER_MAX];
    const bool is_list = attr->kind == EVENT_ATTR_LIST;
    const bool counts = attr->kind == EVENT_ATTR_NUMBER || attr->kind == EVENT_ATTR_BOOL;
    *changed = false;
    if (!str_has(attr->name)) return STATUS_OK;
    const struct record_attr *old = NULL;
    for (uint32_t i = 0; i < *n && old == NULL; i++)
        if (str_eq((*list)[i].name, attr->name)) old = &(*list)[i];
    if (old == NULL && *n >= EVENT_ATTRS_MAX) return STATUS_OK; /* the bound; what is known stays */
    if (old != NULL && same_number(old, attr)) return STATUS_OK;
    const struct str text = is_list ? (struct str){0} : plain_text(attr, number);
    const double value = counts && isfinite(attr->number) ? attr->number : NAN;
    if (old != NULL && isnan(old->number) == isnan(value) &&
        (is_list ? same_list(old->text, attr) : str_eq(old->text, text)))
        return STATUS_OK;
    const struct str copy = kept_text(scratch, attr, text);
    struct record_attr *a = copy.p ? find_or_append(scratch, list, n, attr->name) : NULL;
    if (a == NULL) {
        record_part_drop(scratch, (void *)(uintptr_t)copy.p);
        return ERR_SET(e, STATUS_OOM, "catalogue: out of memory for attribute '" STR_FMT "'", STR_ARG(attr->name));
    }
    record_part_drop(scratch, (void *)(uintptr_t)a->text.p);
    a->text = copy;
    a->number = value;
    *changed = true;
    return STATUS_OK;
}

static uint64_t text_hash(const struct record_item *i, const char *name)
{
    const struct record_attr *a = record_attr(i->attrs, i->n_attrs, name);
    return a != NULL && a->text.n > 0 ? hash_str(a->text) : 0;
}

static void derive(struct record_item *i)
{
    const struct record_attr *price = record_attr(i->attrs, i->n_attrs, "price");
    i->category = text_hash(i, "category");
    i->brand = text_hash(i, "brand");
    i->price = price != NULL && price->number >= 0 && price->number < FLT_MAX ? (float)price->number : NAN;
}

enum status catalogue_set_attrs(struct record_item *i, const struct describe *d, bool behaviour,
                                const struct event_attr *attrs, uint32_t n, unsigned *changed, struct err *e)
{
    enum status st = STATUS_OK;
    *changed = 0;
    for (uint32_t a = 0; a < n && st == STATUS_OK; a++) {
        bool differs = false;
        if (behaviour && !behaviour_tells(d, &attrs[a])) continue;
        st = catalogue_set_attr(i->scratch, &i->attrs, &i->n_attrs, &attrs[a], &differs, e);
        if (!differs) continue;
        *changed |= CATALOGUE_ATTRS;
        if (describe_item_uses(d, attrs[a].name)) *changed |= CATALOGUE_SENTENCE;
    }
    if (*changed != 0) derive(i);
    return st;
}

uint32_t catalogue_tags(const struct record_item *i, uint32_t out[HISTORY_TAGS_MAX])
{
    const struct record_attr *a = record_attr(i->attrs, i->n_attrs, "tags");
    uint32_t n = 0;
    if (a == NULL) return 0;
    for (size_t from = 0, at = 0; at <= a->text.n && n < HISTORY_TAGS_MAX; at++) {
        if (at < a->text.n && a->text.p[at] != '\x1f' && a->text.p[at] != ',') continue;
        while (from < at && a->text.p[from] == ' ') from++;
        if (at > from) out[n++] = (uint32_t)hash_bytes(a->text.p + from, at - from);
        from = at + 1;
    }
    return n;
}
