/* preset_csv.c - a row split into cells, rules tried, fields filled. */
#include "ingest/preset_csv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/parse_text.h"
#include "ingest/preset_map.h"
#include <math.h>
#include <string.h>

#define SCRATCH_BLOCK 65536

struct preset_csv {
    const struct conf *conf;
    struct preset_map *map;
    struct arena scratch; /* of one row */
    struct str cells[PRESET_MAP_COLUMNS];
    uint32_t n_cells, n_columns;
};

enum status preset_csv_new(struct preset_csv **out, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    if (c->ingest_map[0] == 0)
        return ERR_SET(e, STATUS_INVALID,
                       "ingest.schema=csv needs a field map; give --map FILE (deploy/maps has examples)");
    struct preset_csv *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "csv preset: no memory for its state");
    p->conf = c;
    arena_init(&p->scratch, SCRATCH_BLOCK);
    TRY_OUT(st, preset_map_new(&p->map, c->ingest_map, c, e));
    *out = p;
    p = NULL;
out:
    preset_csv_free(p);
    return st;
}

void preset_csv_free(struct preset_csv *p)
{
    if (p == NULL) return;
    preset_map_free(p->map);
    arena_fini(&p->scratch);
    mem_free(p);
}

struct source_framing preset_csv_framing(const struct preset_csv *p)
{
    return (struct source_framing){.delimiter = p->map->delimiter, .quote = p->map->quote};
}

/* A quoted cell at s, whose first byte is the quote: its text, written to out (s.n bytes at most), and how many bytes it
 * took; 0 when malformed. */
static size_t quoted_cell(char quote, struct str s, char *out, struct str *cell)
{
    size_t n = 0;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] != quote) {
            out[n++] = s.p[i];
            continue;
        }
        if (i + 1 < s.n && s.p[i + 1] == quote) {
            out[n++] = s.p[i++];
            continue;
        }
        *cell = (struct str){out, n};
        return i + 1;
    }
    return 0;
}

static bool split(struct preset_csv *p, struct str row, struct parse_context *x)
{
    size_t at = 0;
    char *room = NULL; /* for the texts of all quoted cells: they are shorter than what they are made of */
    p->n_cells = 0;
    for (;;) {
        struct str rest = {row.p + at, row.n - at}, cell = {rest.p, 0};
        if (p->n_cells == PRESET_MAP_COLUMNS)
            return reject_set(x->reject, REJECT_CSV_COLUMNS, "the row has more than %d columns", PRESET_MAP_COLUMNS);
        if (p->map->quote && rest.n > 0 && rest.p[0] == p->map->quote) {
            if (room == NULL) room = arena_raw(&p->scratch, row.n, 1);
            x->oom = room == NULL;
            if (x->oom) return false;
            const size_t took = quoted_cell(p->map->quote, rest, room + at, &cell);
            if (took == 0 || (took < rest.n && rest.p[took] != p->map->delimiter))
                return reject_set(x->reject, REJECT_CSV_QUOTE, "the quotes of column %u are not as RFC 4180 has them",
                                  p->n_cells + 1);
            at += took;
        } else {
            const char *end = rest.n > 0 ? memchr(rest.p, p->map->delimiter, rest.n) : NULL;
            cell.n = end != NULL ? (size_t)(end - rest.p) : rest.n;
            at += cell.n;
        }
        p->cells[p->n_cells++] = cell;
        if (at >= row.n) return true;
        at++; /* the delimiter */
        if (at == row.n && p->n_cells < PRESET_MAP_COLUMNS) {
            p->cells[p->n_cells++] = (struct str){row.p + at, 0};
            return true;
        }
    }
}

static enum status find_column(const struct preset_csv *p, struct preset_cell *cell, const char *path, struct str row,
                               struct err *e)
{
    cell->index = -1;
    for (uint32_t i = 0; i < p->n_cells; i++) {
        if (!str_eq(p->cells[i], cell->column)) continue;
        if (cell->index >= 0)
            return ERR_SET(e, STATUS_INVALID, "%s: the header has column \"%s\" twice, and %s:%d uses it", path,
                           cell->column.p, p->map->path, cell->line);
        cell->index = (int)i;
    }
    if (cell->index >= 0) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "%s: no column \"%s\", which %s:%d uses; the header is: " STR_FMT, path,
                   cell->column.p, p->map->path, cell->line, (int)(row.n < 150 ? row.n : 150), row.p);
}

enum status preset_csv_header(struct preset_csv *p, const char *path, struct str row, struct err *e)
{
    struct reject reject = {0};
    struct parse_context x = {.reject = &reject};
    arena_reset(&p->scratch);
    if (!utf8_valid(row))
        return ERR_SET(e, STATUS_INVALID, "%s: the header row is not UTF-8; is this a CSV file?", path);
    if (!split(p, row, &x)) {
        if (x.oom) return ERR_SET(e, STATUS_OOM, "%s: no memory for the header", path);
        return ERR_SET(e, STATUS_INVALID, "%s: the header can't be read: %s", path, reject.text);
    }
    p->n_columns = p->n_cells;
    for (uint32_t i = 0; i < p->map->n_fields; i++)
        if (!p->map->fields[i].constant) TRY(find_column(p, &p->map->fields[i].cell, path, row, e));
    for (uint32_t i = 0; i < p->map->n_rules; i++)
        if (p->map->rules[i].op != OP_ALWAYS) TRY(find_column(p, &p->map->rules[i].cell, path, row, e));
    return STATUS_OK;
}

static struct str cell_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r'))) s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || (s.p[s.n - 1] >= '\t' && s.p[s.n - 1] <= '\r'))) s.n--;
    return s;
}

/* ASCII only: what letters of other scripts become depends on a language that the map does not name. */
static bool cell_case(struct preset_csv *p, bool upper, struct str *s, struct parse_context *x)
{
    char *out = arena_alloc(&p->scratch, s->n + 1, 1);
    x->oom = x->oom || out == NULL;
    if (out == NULL) return false;
    for (size_t i = 0; i < s->n; i++) {
        const char c = s->p[i];
        const bool letter = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
        out[i] = letter ? (char)(c ^ 0x20) : c;
    }
    *s = (struct str){out, s->n};
    return true;
}

static bool cell_number(struct preset_csv *p, const struct preset_cell *cell, bool absolute, struct str *s,
                        struct parse_context *x)
{
    double v = 0;
    *s = cell_trim(*s);
    if (s->n == 0) return true;
    if (!parse_decimal(*s, &v))
        return reject_set(x->reject, REJECT_BAD_NUMBER, "column %.60s: \"" STR_FMT "\" is not a number", cell->column.p,
                          (int)(s->n < 60 ? s->n : 60), s->p);
    *s = parse_number_text(&p->scratch, absolute ? fabs(v) : v);
    x->oom = x->oom || s->p == NULL;
    return s->p != NULL;
}

/* The text of a cell after its transforms.  *number: it went through number or abs.  *separator: 0 or a list's. */
static bool cell_text(struct preset_csv *p, const struct preset_cell *cell, struct parse_context *x, struct str *s,
                      bool *number, char *separator)
{
    *s = p->cells[cell->index];
    *number = false;
    *separator = 0;
    for (uint32_t i = 0; i < cell->n_transforms; i++) {
        const enum preset_transform_kind kind = cell->transforms[i].kind;
        const struct str argument = cell->transforms[i].argument;
        if (kind == TRANSFORM_TRIM) *s = cell_trim(*s);
        if (kind == TRANSFORM_LIST) *separator = argument.p[0];
        if (kind == TRANSFORM_STRIP && s->n >= argument.n &&
            memcmp(s->p + s->n - argument.n, argument.p, argument.n) == 0)
            s->n -= argument.n;
        if ((kind == TRANSFORM_UPPER || kind == TRANSFORM_LOWER) && !cell_case(p, kind == TRANSFORM_UPPER, s, x))
            return false;
        if (kind != TRANSFORM_NUMBER && kind != TRANSFORM_ABS) continue;
        *number = true;
        if (!cell_number(p, cell, kind == TRANSFORM_ABS, s, x)) return false;
    }
    return true;
}

static bool compare(enum preset_op op, double a, double b)
{
    switch (op) {
    case OP_LESS: return a < b;
    case OP_AT_MOST: return a <= b;
    case OP_MORE: return a > b;
    default: return a >= b;
    }
}

/* false only when out of memory or the cell's transforms refuse it. */
static bool rule_holds(struct preset_csv *p, const struct preset_rule *rule, struct parse_context *x, bool *holds)
{
    struct str s;
    bool number;
    char separator;
    double v = 0;
    *holds = true;
    if (rule->op == OP_ALWAYS) return true;
    if (!cell_text(p, &rule->cell, x, &s, &number, &separator)) return false;
    if (rule->op == OP_MATCH || rule->op == OP_NO_MATCH) {
        const struct str text = arena_str(&p->scratch, s); /* regexec wants a NUL */
        x->oom = x->oom || text.p == NULL;
        if (text.p == NULL) return false;
        *holds = (regexec(&rule->regex, text.p, 0, NULL, 0) == 0) == (rule->op == OP_MATCH);
    } else if (rule->op == OP_EQUAL || rule->op == OP_UNEQUAL) {
        *holds = str_eq(s, rule->text) == (rule->op == OP_EQUAL);
    } else if (rule->op == OP_EMPTY || rule->op == OP_PRESENT) {
        *holds = (s.n == 0) == (rule->op == OP_EMPTY);
    } else if (rule->op == OP_STARTS) {
        *holds = s.n >= rule->text.n && memcmp(s.p, rule->text.p, rule->text.n) == 0;
    } else {
        *holds = parse_decimal(cell_trim(s), &v) && compare(rule->op, v, rule->number);
    }
    return true;
}

/* The first rule that holds; NULL when none does. */
static bool decide(struct preset_csv *p, struct parse_context *x, const struct preset_rule **out)
{
    *out = NULL;
    for (uint32_t i = 0; i < p->map->n_rules && *out == NULL; i++) {
        bool holds = false;
        if (!rule_holds(p, &p->map->rules[i], x, &holds)) return false;
        if (holds) *out = &p->map->rules[i];
    }
    return true;
}

static bool read_time(const struct preset_csv *p, struct str s, struct parse_context *x, int64_t *out)
{
    const struct str format = p->map->time_format;
    double seconds = 0;
    s = cell_trim(s);
    bool ok = false;
    if (str_is(format, "ms")) {
        if (parse_digits(s, out)) return parse_time_ms(x, "time", *out);
    } else if (str_is(format, "s")) {
        ok = parse_decimal(s, &seconds) && fabs(seconds) < 1e12;
        if (ok) *out = (int64_t)llround(seconds * 1000);
    } else if (str_is(format, "rfc3339")) {
        ok = clock_parse_rfc3339(s, out);
    } else {
        ok = preset_time_parse(format, s, out);
        *out -= p->map->utc_offset_ms;
    }
    if (!ok)
        return reject_set(x->reject, REJECT_BAD_TIME, "time \"" STR_FMT "\" is not of the format %.60s",
                          (int)(s.n < 60 ? s.n : 60), s.p, format.p);
    if (*out >= 0 && *out <= 253402300799999) return true;
    return reject_set(x->reject, REJECT_TIME_RANGE, "time \"" STR_FMT "\" is outside 1970 to 9999",
                      (int)(s.n < 60 ? s.n : 60), s.p);
}

static bool read_list(struct parse_context *x, struct str name, struct str s, char separator, struct event_attr *out)
{
    out->kind = EVENT_ATTR_LIST;
    out->list = arena_alloc(x->arena, EVENT_LIST_MAX, sizeof *out->list);
    x->oom = x->oom || out->list == NULL;
    if (out->list == NULL) return false;
    while (s.n > 0) {
        const char *end = memchr(s.p, separator, s.n);
        const struct str part = cell_trim((struct str){s.p, end != NULL ? (size_t)(end - s.p) : s.n});
        s = end != NULL ? (struct str){end + 1, s.n - (size_t)(end + 1 - s.p)} : (struct str){s.p, 0};
        if (part.n == 0) continue;
        if (out->n_list == EVENT_LIST_MAX)
            return reject_set(x->reject, REJECT_LIST_TOO_LONG, "attribute %.80s has more than %d values", name.p,
                              EVENT_LIST_MAX);
        if (!parse_text(x, name, part, &out->list[out->n_list])) return false;
        out->n_list++;
    }
    return true;
}

static bool read_attribute(struct parse_context *x, const struct preset_field *f, struct str s, bool number,
                           char separator, struct event *ev)
{
    struct event_attr *out = &ev->attrs[ev->n_attrs++];
    *out =
        (struct event_attr){.name = arena_str(x->arena, f->name), .kind = number ? EVENT_ATTR_NUMBER : EVENT_ATTR_TEXT};
    x->oom = x->oom || out->name.p == NULL;
    if (out->name.p == NULL) return false;
    if (separator) return read_list(x, f->name, s, separator, out);
    if (!parse_text(x, f->name, s, &out->text)) return false;
    return !number || parse_decimal(out->text, &out->number);
}

static bool read_field(struct preset_csv *p, const struct preset_field *f, struct parse_context *x, struct event *ev)
{
    struct str s = f->text;
    bool number = false;
    char separator = 0;
    if (!f->constant && !cell_text(p, &f->cell, x, &s, &number, &separator)) return false;
    if (f->kind == FIELD_TYPE) return ev->type_name.p != NULL || s.n == 0 || parse_type(x, p->conf, s, ev);
    if (s.n == 0)
        return f->kind != FIELD_TIME ||
               reject_set(x->reject, REJECT_MISSING_TIME, "column %.60s is empty", f->cell.column.p);
    switch (f->kind) {
    case FIELD_TIME: return read_time(p, s, x, &ev->time_ms);
    case FIELD_ID: return parse_id(x, f->name.p, s, (struct str *)(void *)((char *)ev + f->id_offset));
    case FIELD_VALUE:
        return parse_decimal(cell_trim(s), &ev->value) ||
               reject_set(x->reject, REJECT_BAD_NUMBER, "value is not a number");
    default: return read_attribute(x, f, s, number, separator, ev);
    }
}

static bool read_row(struct preset_csv *p, struct str row, struct parse_context *x, struct event *ev)
{
    const struct preset_rule *rule = NULL;
    if (!utf8_valid(row) || memchr(row.p, 0, row.n) != NULL)
        return reject_set(x->reject, REJECT_BAD_UTF8, "the row has bytes that are not UTF-8 text");
    if (!split(p, row, x)) return false;
    if (p->n_cells != p->n_columns)
        return reject_set(x->reject, REJECT_CSV_COLUMNS, "the row has %u columns, the header %u", p->n_cells,
                          p->n_columns);
    if (!decide(p, x, &rule)) return false;
    if (rule != NULL && rule->skip) return reject_set(x->reject, REJECT_SKIPPED, "%s", rule->name.p);
    if (rule != NULL && !parse_type(x, p->conf, rule->name, ev)) return false;
    ev->attrs = arena_alloc(x->arena, p->map->n_fields, sizeof *ev->attrs);
    x->oom = x->oom || ev->attrs == NULL;
    if (ev->attrs == NULL) return false;
    for (uint32_t i = 0; i < p->map->n_fields; i++)
        if (!read_field(p, &p->map->fields[i], x, ev)) return false;
    if (ev->type_name.p == NULL)
        return reject_set(x->reject, REJECT_MISSING_TYPE, "no rule names the row's type, and its type is empty");
    if (!parse_attr_number(x, ev, "price", &ev->price) || !parse_attr_number(x, ev, "quantity", &ev->quantity))
        return false;
    return parse_complete(x, ev);
}

enum status preset_csv_parse(struct preset_csv *p, struct str row, struct arena *a, struct event *ev, struct reject *r,
                             struct err *e)
{
    struct parse_context x = {.arena = a, .reject = r};
    *ev = (struct event){.value = NAN, .quantity = NAN, .price = NAN};
    r->code = REJECT_NONE;
    if (row.n > (size_t)p->conf->ingest_max_bytes) {
        (void)reject_set(r, REJECT_TOO_LONG, "the row has %zu bytes; ingest.max_bytes allows %lld", row.n,
                         (long long)p->conf->ingest_max_bytes);
        return STATUS_INVALID;
    }
    arena_reset(&p->scratch);
    if (read_row(p, row, &x, ev)) return STATUS_OK;
    if (x.oom) return ERR_SET(e, STATUS_OOM, "csv preset: no memory for a row of %zu bytes", row.n);
    return STATUS_INVALID;
}
