/* bench_against.c - the figures of this run beside those of an earlier one: ratios of medians, as much as they may mean.
 *
 * A ratio above 1 is better now.  It is marked when the two spreads do not even touch.
 */
#include "cli/bench.h"
#include <jansson.h>
#include <string.h>

static const json_t *find(const json_t *cases, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(cases, i, one)
    {
        const char *its = json_string_value(json_object_get(one, "name"));
        if (its != NULL && strcmp(its, name) == 0) return one;
    }
    return NULL;
}

static double number(const json_t *one, const char *key)
{
    return json_number_value(json_object_get(one, key));
}

static void put_ratio(struct buf *b, const struct cmd_bench_figure *f, const json_t *before)
{
    char unit[32];
    const double was = number(before, "median");
    if (f->skipped[0] != 0 || !(was > 0.0) || !(f->median > 0.0)) return;
    const bool apart = f->least > number(before, "max") || f->most < number(before, "min");
    cmd_bench_unit(unit, f->c);
    buf_printf(b, "  %-18s %12.4g %12.4g  %-11s %8.2fx%s\n", f->c->name, was, f->median, unit,
               cmd_bench_more(f->c) ? f->median / was : was / f->median, apart ? " *" : "");
}

static enum status load(json_t **out, const char *path, struct err *e)
{
    json_error_t why;
    json_t *j = *out = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (json_integer_value(json_object_get(j, "format")) == 1 && json_is_array(json_object_get(j, "cases")))
        return STATUS_OK;
    json_decref(j);
    *out = NULL;
    return ERR_SET(e, STATUS_INVALID, "--against %s: %s", path, why.text[0] != 0 ? why.text : "not written by --json");
}

enum status cmd_bench_check_against(const char *path, struct err *e)
{
    json_t *j;
    TRY(load(&j, path, e));
    json_decref(j);
    return STATUS_OK;
}

enum status cmd_bench_put_against(struct buf *b, const struct cmd_bench_report *r, const char *path, struct err *e)
{
    json_t *j;
    TRY(load(&j, path, e));
    const json_t *cases = json_object_get(j, "cases");
    buf_printf(b, "\nagainst %s: medians, above 1 is better now, * the spreads do not touch\n  %-18s %12s %12s\n", path,
               "", "before", "now");
    const size_t start = b->n;
    for (size_t i = 0; i < r->n; i++) {
        const json_t *before = find(cases, r->figures[i].c->name);
        if (before != NULL) put_ratio(b, &r->figures[i], before);
    }
    if (b->n == start) buf_printf(b, "  no case that was measured both times\n");
    json_decref(j);
    return STATUS_OK;
}
