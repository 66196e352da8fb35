/* fuzz_map.c - a field map of the user's own, and rows of a table read by it.
 *
 * Input: the map, a NUL, then the table: its first line is the header.
 * fuzz: -dict=map -max_len=4096
 */
#include "ingest/preset_csv.h"
#include "tests/fuzz/event_check.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>

static struct str until_nul(struct fuzz_input *in)
{
    const uint8_t *end = in->n > 0 ? memchr(in->p, 0, in->n) : NULL;
    const struct str s = fuzz_take(in, end != NULL ? (size_t)(end - in->p) : in->n);
    (void)fuzz_byte(in);
    return s.p != NULL ? s : STR("");
}

static void read_table(struct preset_csv *preset, struct parse *native, struct fuzz_input *in)
{
    struct arena arena = {0};
    struct err e = {0};
    const enum status header = preset_csv_header(preset, "table", fuzz_line(in), &e);
    if (header != STATUS_OK) fuzz_check_refusal(header, &e);
    while (header == STATUS_OK && in->n > 0) {
        struct event ev;
        struct reject r = {0};
        arena_reset(&arena);
        const enum status st = preset_csv_parse(preset, fuzz_line(in), &arena, &ev, &r, &e);
        if (st == STATUS_OK)
            fuzz_check_event(native, &ev);
        else
            fuzz_check_reject(st, &r);
    }
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct conf *conf;
    struct fuzz_input in = {p, n};
    struct preset_csv *preset = NULL;
    struct parse *native = NULL;
    struct err e = {0};
    char option[100];
    const char *path = fuzz_file(0, until_nul(&in));
    (void)snprintf(option, sizeof option, "ingest.map=%s", path);
    if (conf == NULL) conf = fuzz_conf((const char *const[]){"ingest.schema=csv", option, NULL});
    fuzz_begin();
    FUZZ_OK(parse_new(&native, conf, &e), &e);
    const enum status st = preset_csv_new(&preset, conf, &e);
    if (st == STATUS_OK)
        read_table(preset, native, &in);
    else
        fuzz_check_refusal(st, &e);
    preset_csv_free(preset);
    parse_free(native);
    fuzz_end(8000000 + 2000 * n);
    return 0;
}
