/* fuzz_template.c - a file of sentence templates, and attributes put into them.
 *
 * Input: the file, a NUL, then attributes as name=value lines.  A sentence stays in its bounds and is UTF-8 when all that
 * goes into it is.
 * fuzz: -dict=template -max_len=4096
 */
#include "base/utf8.h"
#include "featurize/describe.h"
#include "tests/fuzz/fuzz.h"
#include <math.h>
#include <stdio.h>

#define ATTRS 16

static void render(const struct describe *d, struct fuzz_input *in, bool text)
{
    struct record_attr attrs[ATTRS];
    char out[DESCRIBE_BYTES_MAX + 1];
    uint32_t n = 0;
    while (in->n > 0 && n < ATTRS) {
        const struct str line = fuzz_line(in);
        const char *equals = line.n > 0 ? memchr(line.p, '=', line.n) : NULL;
        if (equals == NULL) continue;
        attrs[n].name = (struct str){line.p, (size_t)(equals - line.p)};
        attrs[n].text = (struct str){equals + 1, line.n - (size_t)(equals + 1 - line.p)};
        attrs[n].number = n % 3 == 0 ? 1e300 / (double)(n + 1) : NAN;
        text = text && utf8_valid(line);
        n++;
    }
    for (int type = 0; type <= EVENT_TYPES_BUILTIN; type++) {
        const uint8_t slot = type == EVENT_TYPES_BUILTIN ? DESCRIBE_ITEM : (uint8_t)type;
        for (size_t cap = 0; cap <= sizeof out; cap = cap * 3 + 1) {
            const size_t length = describe_render(d, slot, "view", attrs, n, out, cap);
            FUZZ_CHECK(length <= cap && length <= DESCRIBE_BYTES_MAX);
        }
        const size_t length = describe_render(d, slot, "view", attrs, n, out, sizeof out);
        if (text) FUZZ_CHECK(utf8_valid((struct str){out, length}));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct conf *conf;
    struct fuzz_input in = {p, n};
    const uint8_t *end = n > 0 ? memchr(p, 0, n) : NULL;
    struct str file = fuzz_take(&in, end != NULL ? (size_t)(end - p) : n);
    struct describe *d = NULL;
    struct err e = {0};
    char option[100];
    (void)fuzz_byte(&in);
    (void)snprintf(option, sizeof option, "describe.templates=%s", fuzz_file(0, file.p ? file : STR("")));
    if (conf == NULL) conf = fuzz_conf((const char *const[]){option, NULL});
    fuzz_begin();
    const enum status st = describe_open(&d, conf, &e);
    if (st == STATUS_OK)
        render(d, &in, utf8_valid(file));
    else
        fuzz_check_refusal(st, &e);
    describe_close(d);
    fuzz_end(4000000 + 100 * n);
    return 0;
}
