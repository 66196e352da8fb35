/* model_print.c - see model.h: shapes, norms, numbers and JSON on stdout. */
#include "base/clock.h"
#include "cli/model.h"
#include "cli/options.h"
#include "job/job_file.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void cmd_model_shape(char out[96], const struct cmd_model_tensor *t)
{
    size_t used = 0;
    (void)snprintf(out, 96, "scalar");
    for (uint8_t d = 0; d < t->rank && used < 90; d++)
        used += (size_t)snprintf(out + used, 96 - used, d > 0 ? "x%" PRIu64 : "%" PRIu64, t->shape[d]);
}

double cmd_model_norm(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

json_t *cmd_model_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

double cmd_model_figure(const json_t *j, const char *key)
{
    const json_t *x = json_object_get(j, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

double cmd_model_days(const json_t *report)
{
    const double ms = cmd_model_figure(report, "to_ms") - cmd_model_figure(report, "from_ms");
    return isfinite(ms) ? ms / 86400000.0 : 0.0;
}

json_t *cmd_model_shape_json(const struct cmd_model_tensor *t)
{
    json_t *j = json_array();
    for (uint8_t d = 0; d < t->rank; d++)
        if (json_array_append_new(j, json_integer((json_int_t)t->shape[d])) != 0) {
            json_decref(j);
            return NULL;
        }
    return j;
}

json_t *cmd_model_time(int64_t ms)
{
    char text[CLOCK_TEXT];
    clock_format(ms, text);
    return json_string(text);
}

int cmd_model_print_json(const char *command, json_t *take_j)
{
    struct err e = {0};
    int rc = 0;
    if (take_j == NULL) {
        (void)ERR_SET(&e, STATUS_OOM, "out of memory");
        rc = cmd_failed(command, &e);
    } else if (json_dumpf(take_j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0 || fputc('\n', stdout) == EOF ||
               fflush(stdout) != 0) {
        (void)ERR_SET(&e, STATUS_IO, "cannot write to stdout: %s", strerror(errno));
        rc = cmd_failed(command, &e);
    }
    json_decref(take_j);
    return rc;
}

static int put_piece(const char *piece, size_t n, void *user)
{
    struct buf *b = user;
    buf_put(b, piece, n);
    return 0;
}

enum status cmd_model_write_json(const char *path, json_t *take_j, struct err *e)
{
    struct buf b = {0};
    const bool made = take_j != NULL && json_dump_callback(take_j, put_piece, &b, JSON_INDENT(1)) == 0;
    json_decref(take_j);
    buf_u8(&b, '\n');
    const enum status st = made ? job_file_write(path, &b, e) : ERR_SET(e, STATUS_OOM, "%s: out of memory", path);
    buf_fini(&b);
    return st;
}
