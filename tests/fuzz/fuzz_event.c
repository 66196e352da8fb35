/* fuzz_event.c - one native JSON event.
 *
 * What is accepted keeps every bound of event.h, survives packing bit for bit, and written as JSON again reads as the same
 * event.  What is refused says why.  Memory is a small multiple of the message.
 * fuzz: -dict=json
 */
#include "tests/fuzz/event_check.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct conf *conf;
    struct parse *parse = NULL;
    struct arena arena = {0};
    struct err e = {0};
    struct reject r = {0};
    struct event ev;
    if (conf == NULL) conf = fuzz_conf((const char *const[]){"type.wishlist.label=positive", NULL});
    fuzz_begin();
    FUZZ_OK(parse_new(&parse, conf, &e), &e);
    const enum status st = parse_event(parse, (struct str){(const char *)p, n}, &arena, &ev, &r, &e);
    if (st == STATUS_OK)
        fuzz_check_event(parse, &ev);
    else
        fuzz_check_reject(st, &r);
    arena_fini(&arena);
    parse_free(parse);
    fuzz_end(1000000 + 400 * n);
    return 0;
}
