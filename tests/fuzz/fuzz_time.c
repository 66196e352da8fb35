/* fuzz_time.c - times, durations and numbers as text: RFC 3339, a map's format, 90s, decimal numbers.
 *
 * Input: a format, a newline, the text.  A time that is read can be written and reads as the same time.
 */
#include "base/clock.h"
#include "ingest/parse_text.h"
#include "ingest/preset_map.h"
#include "tests/fuzz/fuzz.h"
#include <math.h>

#define FIRST_MS INT64_C(-62167305600000) /* year 0, less a day of zone */
#define LAST_MS INT64_C(253402387199999)  /* year 9999, and a day of zone */

static void check_rfc3339(struct str s)
{
    char text[CLOCK_TEXT];
    int64_t ms = 7, again = 8;
    if (!clock_parse_rfc3339(s, &ms)) {
        FUZZ_CHECK(ms == 7);
        return;
    }
    FUZZ_CHECK(ms >= FIRST_MS && ms <= LAST_MS);
    if (ms < 0 || ms > INT64_C(253402300799999)) return;
    clock_format(ms, text);
    FUZZ_CHECK(strlen(text) == CLOCK_TEXT - 1 && clock_parse_rfc3339(str_from(text), &again) && again == ms);
}

static void check_decimal(struct str s)
{
    struct arena a = {0};
    double v = 0, again = 1;
    int64_t whole = 0;
    if (parse_decimal(s, &v)) {
        const struct str text = parse_number_text(&a, v);
        FUZZ_CHECK(isfinite(v) && text.p != NULL && parse_decimal(text, &again) && again == v);
    }
    if (parse_digits(s, &whole))
        FUZZ_CHECK(whole > -INT64_C(1000000000000000000) && whole < INT64_C(1000000000000000000));
    arena_fini(&a);
}

static void check_duration(struct str s)
{
    struct err e = {0};
    char text[64];
    int64_t ms = 0;
    if (s.n >= sizeof text) return;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    const enum status st = conf_duration_ms(text, &ms, &e);
    if (st == STATUS_OK)
        FUZZ_CHECK(ms >= 0);
    else
        fuzz_check_refusal(st, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    const struct str format = fuzz_line(&in), text = fuzz_rest(&in);
    int64_t ms = 0;
    fuzz_begin();
    check_rfc3339(text);
    check_decimal(text);
    check_duration(text);
    if (format.n > 0 && preset_time_parse(format, text, &ms)) FUZZ_CHECK(ms >= FIRST_MS && ms <= LAST_MS);
    fuzz_end(200000);
    return 0;
}
