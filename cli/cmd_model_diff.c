/* cmd_model_diff.c - `freshet model diff A B`: per tensor the relative change |B - A| / |A|, biggest first. */
#include "base/mem.h"
#include "cli/model.h"
#include "cli/options.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char command[] = "model diff";

struct row {
    const struct cmd_model_tensor *a, *b;
    double change, before, after,
        most; /* relative; norms; largest |B - A| of one number.  change is infinite from zero */
};
struct diff {
    struct cmd_model a, b;
    char said_a[40], said_b[40]; /* of the version: blessed, discarded …; "": nothing */
    struct row *rows;            /* changed ones, biggest first */
    size_t n, unchanged, only_a, only_b;
    bool json;
    struct buf out;
};

static bool same_shape(const struct cmd_model_tensor *a, const struct cmd_model_tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0 && a->values != NULL &&
           b->values != NULL;
}

static struct row compare(const struct cmd_model_tensor *a, const struct cmd_model_tensor *b)
{
    struct row r = {
        .a = a, .b = b, .before = cmd_model_norm(a->values, a->n), .after = cmd_model_norm(b->values, b->n)};
    double sum = 0.0;
    for (size_t i = 0; i < a->n; i++) {
        const double d = (double)b->values[i] - (double)a->values[i];
        sum += d * d;
        r.most = fmax(r.most, fabs(d));
    }
    r.change = sum <= 0.0 ? 0.0 : r.before > 0.0 ? sqrt(sum) / r.before : INFINITY;
    return r;
}

static int biggest_first(const void *p, const void *q)
{
    const struct row *a = p, *b = q;
    if (a->change != b->change) return a->change < b->change ? 1 : -1;
    if (a->most != b->most) return a->most < b->most ? 1 : -1;
    return strcmp(a->a->name, b->a->name);
}

static enum status diff(struct diff *d, struct err *e)
{
    d->rows = mem_calloc(d->a.n, sizeof *d->rows);
    if (d->rows == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %zu tensors", d->a.n);
    size_t both = 0;
    for (size_t i = 0; i < d->a.n; i++) {
        const struct cmd_model_tensor *a = &d->a.tensors[i], *b = cmd_model_find(&d->b, a->name);
        both += b != NULL;
        if (b == NULL)
            d->only_a++;
        else if (a->values == NULL && b->values == NULL)
            d->unchanged++; /* not floats: position ids */
        else if (!same_shape(a, b))
            return ERR_SET(e, STATUS_INVALID, "tensor '%s' has another shape in %s: not the same model", a->name,
                           d->b.path);
        else if (memcmp(a->values, b->values, a->n * sizeof *a->values) == 0)
            d->unchanged++;
        else
            d->rows[d->n++] = compare(a, b);
    }
    d->only_b = d->b.n - both;
    if (both == 0)
        return ERR_SET(e, STATUS_INVALID, "%s and %s have no tensor in common: not the same kind of model", d->a.path,
                       d->b.path);
    qsort(d->rows, d->n, sizeof *d->rows, biggest_first);
    return STATUS_OK;
}

static json_t *side_json(const struct cmd_model *m, const char *said)
{
    json_t *j = json_pack("{s:s, s:s}", "path", m->path, "sha256", m->sha256);
    if (j != NULL && m->version > 0) (void)json_object_set_new(j, "version", json_integer((json_int_t)m->version));
    if (j != NULL && said[0] != '\0') (void)json_object_set_new(j, "said", json_string(said + 2));
    return j;
}

static int print_json(const struct diff *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const struct row *r = &d->rows[i];
        json_t *one = json_pack("{s:s, s:o, s:o, s:f, s:f, s:f}", "name", r->a->name, "shape",
                                cmd_model_shape_json(r->a), "relative_change", cmd_model_number(r->change), "norm_a",
                                r->before, "norm_b", r->after, "largest_change", r->most);
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
            break;
        }
    }
    return cmd_model_print_json(command,
                                json_pack("{s:o, s:o, s:I, s:I, s:I, s:o}", "a", side_json(&d->a, d->said_a), "b",
                                          side_json(&d->b, d->said_b), "unchanged", (json_int_t)d->unchanged, "only_a",
                                          (json_int_t)d->only_a, "only_b", (json_int_t)d->only_b, "changed", list));
}

/* Names that only one side has, at most all of a short list. */
static void put_only(struct buf *b, const struct cmd_model *here, const struct cmd_model *there, size_t n)
{
    if (n == 0) return;
    buf_printf(b, "only in %s:", here->path);
    for (size_t i = 0, shown = 0; i < here->n; i++) {
        if (cmd_model_find(there, here->tensors[i].name) != NULL) continue;
        if (shown++ == 8) {
            buf_printf(b, " ... (%zu)", n);
            break;
        }
        buf_printf(b, " %s", here->tensors[i].name);
    }
    buf_u8(b, '\n');
}

static int print_text(struct diff *d)
{
    struct buf *b = &d->out;
    char shape[96];
    buf_printf(b, "A %s  sha256 %.12s%s\nB %s  sha256 %.12s%s\n\n", d->a.path, d->a.sha256, d->said_a, d->b.path,
               d->b.sha256, d->said_b);
    if (d->n > 0)
        buf_printf(b, "%10s %12s %12s %12s %14s  %s\n", "change", "norm A", "norm B", "largest", "shape", "tensor");
    for (size_t i = 0; i < d->n; i++) {
        const struct row *r = &d->rows[i];
        cmd_model_shape(shape, r->a);
        if (isfinite(r->change))
            buf_printf(b, "%9.4f%%", 100.0 * r->change);
        else
            buf_printf(b, "%10s", "from zero");
        buf_printf(b, " %12.6g %12.6g %12.6g %14s  %s\n", r->before, r->after, r->most, shape, r->a->name);
    }
    buf_printf(b, "%s%zu changed, %zu unchanged\n", d->n > 0 ? "\n" : "", d->n, d->unchanged);
    put_only(b, &d->a, &d->b, d->only_a);
    put_only(b, &d->b, &d->a, d->only_b);
    return cmd_print(command, b);
}

/* A path, or with state.dir set the number of a version in it. */
static enum status open_side(struct cmd_model *m, const char *what, const char *state_dir, char said[40], struct err *e)
{
    char path[CMD_MODEL_PATH];
    char *end;
    const unsigned long long version = strtoull(what, &end, 10);
    if (*state_dir == 0 || end == what || *end != 0 || what[0] == '-') return cmd_model_open(m, what, 0, e);
    TRY(cmd_model_weights_path(path, state_dir, version, e));
    cmd_model_said(said, state_dir, version);
    return cmd_model_open(m, path, 0, e);
}

int cmd_model_diff(int argc, char **argv)
{
    static const char *const keys[] = {"state.dir", NULL};
    struct diff d = {0};
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {{"json", NULL, CMD_FLAG, &d.json, NULL, "one JSON object"}};
    const struct cmd_usage usage = {
        .command = command,
        .arguments = "A B",
        .options = options,
        .n_options = 1,
        .keys = keys,
        .least = 2,
        .most = 2,
        .about = "A and B are weight files, state folders (their newest version), Hugging Face folders or .safetensors "
                 "files; with\n"
                 "-o state.dir=DIR also numbers of versions in it. change = |B - A| / |A| of a tensor.\n"};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        enum status st = open_side(&d.a, line.args[0], line.conf->state_dir, d.said_a, &e);
        if (st == STATUS_OK) st = open_side(&d.b, line.args[1], line.conf->state_dir, d.said_b, &e);
        if (st == STATUS_OK) st = diff(&d, &e);
        rc = st != STATUS_OK ? cmd_failed(command, &e) : d.json ? print_json(&d) : print_text(&d);
    }
    mem_free(d.rows);
    cmd_model_close(&d.a);
    cmd_model_close(&d.b);
    buf_fini(&d.out);
    cmd_line_fini(&line);
    return rc;
}
