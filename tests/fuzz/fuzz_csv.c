/* fuzz_csv.c - a CSV file: records found, header read, rows made events by one of the maps here.
 *
 * The first byte picks the map; the rest is the file.  Every byte of the file stands in exactly one record or is a line's
 * end or what was cut off an over-long line; rows that are accepted are good events.
 * fuzz: -dict=csv -max_len=16384
 */
#include "ingest/preset_csv.h"
#include "ingest/source_reader.h"
#include "tests/fuzz/event_check.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>

#define MAPS 4
#define LONGEST 1024 /* ingest.max_bytes: so that over-long records come up */

static const char *const maps[MAPS] = {
    "[time]\nformat = %Y-%m-%d %H:%M:%S\n[fields]\ntime = t\nitem = i\nuser = u | strip .0\ntitle = n\n"
    "price = p | number\nquantity = q | abs\n[constants]\ntype = purchase\n[rules]\nskip.no_user = u empty\n"
    "type.refund = q | number < 0\nskip.test = n ~ ^(test|TEST)[0-9]+$\n",
    "[csv]\ndelimiter = ;\nquote = '\n[time]\nformat = ms\n[fields]\ntime = t\ntype = y\nitem = i | upper\n"
    "user = u\ntags = g | list |\nvalue = v\n[rules]\nskip.all = i starts X\n",
    "[csv]\ndelimiter = tab\nquote = none\n[time]\nformat = rfc3339\n[fields]\ntime = t\nitem = i | trim\nuser = u\n"
    "order = o\nbrand = b | lower | trim\n[constants]\ntype = view\n[rules]\ntype.click = b present\n",
    "[time]\nformat = %d/%m/%y %H:%M:%S.%f%z\nutc_offset_minutes = 60\n[fields]\ntime = t\ntype = y\nitem = i\n"
    "user = u\nsession = s\nprice = p | number\n",
};
static struct conf *confs[MAPS], *defaults; /* native events may be longer than the row they were */
static struct parse *native;
static struct arena arena;

static void open_all(void)
{
    if (defaults != NULL) return;
    defaults = fuzz_conf(NULL);
    for (unsigned i = 0; i < MAPS; i++) {
        char option[100];
        (void)snprintf(option, sizeof option, "ingest.map=%s", fuzz_file(1 + i, str_from(maps[i])));
        confs[i] = fuzz_conf((const char *const[]){"ingest.schema=csv", option, "ingest.max_bytes=1024", NULL});
    }
}

/* Where the record lies in the file, from *at on, with nothing but ends of lines before it (anything once one was
 * too long: *loose); moves *at behind it. */
static void check_place(struct str file, size_t *at, bool *loose, struct str record, enum reject_code broken)
{
    FUZZ_CHECK(record.n <= LONGEST);
    while (file.n - *at >= record.n && memcmp(file.p + *at, record.p, record.n) != 0) {
        FUZZ_CHECK(*loose || file.p[*at] == '\n' || file.p[*at] == '\r');
        ++*at;
    }
    FUZZ_CHECK(file.n - *at >= record.n);
    *at += record.n;
    *loose = *loose || broken == REJECT_TOO_LONG;
}

static void take(struct preset_csv *p, struct str record)
{
    struct event ev;
    struct reject r = {0};
    struct err e = {0};
    arena_reset(&arena);
    const enum status st = preset_csv_parse(p, record, &arena, &ev, &r, &e);
    if (st == STATUS_OK)
        fuzz_check_event(native, &ev);
    else
        fuzz_check_reject(st, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    struct source_reader *reader = NULL;
    struct err e = {0};
    struct str record;
    enum reject_code broken;
    open_all();
    const struct conf *c = confs[fuzz_byte(&in) % MAPS];
    const struct str file = fuzz_rest(&in);
    if (file.n > 0 && strchr("\x1f\xfd(", file.p[0]) != NULL) return 0; /* maybe compressed: a target of its own */
    fuzz_begin();
    struct preset_csv *preset = NULL;
    FUZZ_OK(preset_csv_new(&preset, c, &e), &e);
    FUZZ_OK(parse_new(&native, defaults, &e), &e);
    FUZZ_OK(source_reader_open(&reader, fuzz_file(0, file), LONGEST, preset_csv_framing(preset), &e), &e);
    size_t at = file.n >= 3 && memcmp(file.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    enum status st = source_reader_next(reader, &record, &broken, &e);
    bool header = false, loose = false;
    for (; st == STATUS_OK; st = source_reader_next(reader, &record, &broken, &e)) {
        check_place(file, &at, &loose, record, broken);
        if (broken != REJECT_NONE) continue;
        if (header) take(preset, record);
        if (!header && preset_csv_header(preset, "file", record, &e) != STATUS_OK) break;
        header = true;
    }
    if (st != STATUS_OK && st != STATUS_END) fuzz_check_refusal(st, &e);
    for (; st == STATUS_END && at < file.n; at++) FUZZ_CHECK(loose || file.p[at] == '\n' || file.p[at] == '\r');
    source_reader_close(reader);
    preset_csv_free(preset);
    parse_free(native);
    arena_fini(&arena);
    fuzz_end(4000000 + 64 * n);
    return 0;
}
