/* fuzz_metarank.c - one event of Metarank: as fuzz_event.c, and what it becomes can be written as a native event.
 *
 * fuzz: -dict=json
 */
#include "ingest/preset_metarank.h"
#include "tests/fuzz/event_check.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct conf *conf;
    struct preset_metarank *preset = NULL;
    struct parse *native = NULL;
    struct arena arena = {0};
    struct err e = {0};
    struct reject r = {0};
    struct event ev;
    if (conf == NULL) conf = fuzz_conf(NULL);
    fuzz_begin();
    FUZZ_OK(preset_metarank_new(&preset, conf, &e), &e);
    FUZZ_OK(parse_new(&native, conf, &e), &e);
    const enum status st = preset_metarank_parse(preset, (struct str){(const char *)p, n}, &arena, &ev, &r, &e);
    if (st == STATUS_OK)
        fuzz_check_event(native, &ev);
    else
        fuzz_check_reject(st, &r);
    arena_fini(&arena);
    parse_free(native);
    preset_metarank_free(preset);
    fuzz_end(1000000 + 400 * n);
    return 0;
}
