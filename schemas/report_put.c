/* report_put.c - see report_put.h. */
#include "schemas/report_put.h"
#include "schemas/event_json.h"
#include <inttypes.h>
#include <math.h>

void report_put_key(struct buf *b, int depth, const char *key, bool *first)
{
    buf_printf(b, "%s\n%*s", *first ? "" : ",", depth * 2, "");
    event_json_string(b, str_from(key));
    buf_printf(b, ": ");
    *first = false;
}

void report_put_count(struct buf *b, int depth, const char *key, uint64_t n, bool *first)
{
    report_put_key(b, depth, key, first);
    buf_printf(b, "%llu", (unsigned long long)n);
}

void report_put_number(struct buf *b, int depth, const char *key, double v, bool *first)
{
    report_put_key(b, depth, key, first);
    event_json_number(b, v);
}

void report_put_text(struct buf *b, int depth, const char *key, const char *text, bool *first)
{
    report_put_key(b, depth, key, first);
    event_json_string(b, str_from(text));
}

bool report_put_open(struct buf *b, int depth, const char *key, bool *first)
{
    report_put_key(b, depth, key, first);
    buf_u8(b, '{');
    return true;
}

void report_put_close(struct buf *b, int depth, bool empty)
{
    if (!empty) buf_printf(b, "\n%*s", depth * 2, "");
    buf_u8(b, '}');
}

void report_put_figures(struct buf *b, int depth, const char *key, const struct report_figures *f, bool *first)
{
    report_put_key(b, depth, key, first);
    const struct {
        const char *name;
        double v;
    } numbers[] = {
        {"auc", f->auc}, {"gauc", f->gauc}, {"logloss", f->logloss}, {"ne", f->ne}, {"calibration", f->calibration}};
    buf_u8(b, '{');
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buf_printf(b, "\"%s\": ", numbers[i].name);
        event_json_number(b, numbers[i].v);
        buf_printf(b, ", ");
    }
    buf_printf(b, "\"examples\": %llu, \"slates\": %llu, \"positives\": %llu}", (unsigned long long)f->examples,
               (unsigned long long)f->slates, (unsigned long long)f->positives);
}

void report_put_interval(struct buf *b, int depth, const char *key, const struct report_interval *x, bool *first)
{
    const double v[] = {x->mean, x->lower, x->upper};
    static const char *const names[] = {"mean", "lower", "upper"};
    report_put_key(b, depth, key, first);
    for (size_t i = 0; i < 3; i++) {
        buf_printf(b, "%s\"%s\": ", i == 0 ? "{" : ", ", names[i]);
        event_json_number(b, v[i]);
    }
    buf_u8(b, '}');
}

static void put_rate(struct buf *b, const char *name, uint64_t part, uint64_t whole)
{
    buf_printf(b, ", \"%s\": ", name);
    event_json_number(b, whole > 0 ? (double)part / (double)whole : NAN);
}

void report_put_cohort(struct buf *b, const struct report_cohort *c)
{
    buf_u8(b, '{');
    if (c->from_ms != 0 || c->to_ms != 0)
        buf_printf(b, "\"from_ms\": %" PRId64 ", \"to_ms\": %" PRId64 ", ", c->from_ms, c->to_ms);
    buf_printf(b, "\"lists\": %" PRIu64 ", \"shown\": %" PRIu64 ", \"taken\": %" PRIu64, c->lists, c->shown, c->taken);
    put_rate(b, "rate", c->taken, c->shown);
    buf_printf(b, ", \"converted\": %" PRIu64 ", \"converted_lists\": %" PRIu64, c->converted, c->converted_lists);
    put_rate(b, "conversion", c->converted_lists, c->lists);
    put_rate(b, "post_click", c->converted, c->taken);
    buf_u8(b, '}');
}
