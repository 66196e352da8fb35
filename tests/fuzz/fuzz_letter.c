/* fuzz_letter.c - a line of a dead-letter file.
 *
 * What is accepted, written again, gives key and value byte for byte.
 * fuzz: -dict=letter
 */
#include "ingest/parse_json.h"
#include "ingest/reject_letter.h"
#include "tests/fuzz/fuzz.h"

static void check_again(const struct reject_letter *first, struct parse_json *json)
{
    struct source_record *rec = mem_calloc(1, sizeof *rec);
    struct arena a = {0};
    struct buf line = {0};
    struct reject_letter back;
    struct reject why = {0};
    struct err e = {0};
    FUZZ_CHECK(rec != NULL);
    rec->raw = first->raw;
    rec->at = first->at;
    reject_letter_write(&line, rec, "parse");
    FUZZ_CHECK(!line.oom && line.p[line.n - 1] == '\n' && memchr(line.p, '\n', line.n) == line.p + line.n - 1);
    const enum status st = reject_letter_read(&back, json, (struct str){(const char *)line.p, line.n}, &a, &why, &e);
    if (st != STATUS_OK) fuzz_fail(__FILE__, __LINE__, "a letter written again reads", why.text);
    FUZZ_CHECK(str_eq(back.raw.value, first->raw.value) && str_eq(back.raw.key, first->raw.key));
    FUZZ_CHECK((back.raw.key.p == NULL) == (first->raw.key.p == NULL));
    FUZZ_CHECK(back.at.offset == first->at.offset && back.at.partition == first->at.partition);
    buf_fini(&line);
    arena_fini(&a);
    mem_free(rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct parse_json *json = NULL;
    struct arena a = {0};
    struct reject_letter letter;
    struct reject why = {0};
    struct err e = {0};
    fuzz_begin();
    FUZZ_OK(parse_json_new(&json, &e), &e);
    const enum status st = reject_letter_read(&letter, json, (struct str){(const char *)p, n}, &a, &why, &e);
    if (st == STATUS_OK)
        check_again(&letter, json);
    else
        FUZZ_CHECK(st == STATUS_INVALID && why.text[0] != 0);
    arena_fini(&a);
    parse_json_free(json);
    fuzz_end(1000000 + 400 * n);
    return 0;
}
