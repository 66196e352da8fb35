/* fuzz_conf.c - a configuration file and options of the command line.
 *
 * Input: the file, a NUL, options one a line.  What is accepted can be dumped, and the dump reads as the same
 * configuration.
 * fuzz: -dict=conf -max_len=4096
 */
#include "tests/fuzz/fuzz.h"

static struct str dump(const struct conf *c, struct buf *b)
{
    buf_clear(b);
    conf_dump(c, b);
    FUZZ_CHECK(!b->oom);
    return (struct str){(const char *)b->p, b->n};
}

static void check_dump(const struct conf *c)
{
    struct buf first = {0}, second = {0}, meaning = {0};
    struct conf *again = NULL;
    struct err e = {0};
    const struct str text = dump(c, &first);
    FUZZ_OK(conf_new(&again, &e), &e);
    FUZZ_OK(conf_load(again, fuzz_file(1, text), &e), &e);
    const bool secrets = memmem(text.p, text.n, "is set and not shown", 20) != NULL; /* those the dump leaves out */
    FUZZ_CHECK(secrets || str_eq(dump(again, &second), text));
    conf_meaning(c, &meaning);
    FUZZ_CHECK(!meaning.oom && meaning.n > 0);
    conf_free(again);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&meaning);
}

static void set_options(struct conf *c, struct fuzz_input *in)
{
    struct err e = {0};
    while (in->n > 0) {
        const struct str line = fuzz_line(in);
        char *option = mem_strndup(line.p, line.n);
        FUZZ_CHECK(option != NULL);
        const enum status st = conf_set_option(c, option, &e);
        if (st != STATUS_OK) fuzz_check_refusal(st, &e);
        mem_free(option);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    const uint8_t *end = n > 0 ? memchr(p, 0, n) : NULL;
    struct str file = fuzz_take(&in, end != NULL ? (size_t)(end - p) : n);
    struct conf *c = NULL;
    struct err e = {0};
    (void)fuzz_byte(&in);
    fuzz_begin();
    FUZZ_OK(conf_new(&c, &e), &e);
    const enum status st = conf_load(c, fuzz_file(0, file.p ? file : STR("")), &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    set_options(c, &in);
    const enum status rules = conf_check(c, &e);
    if (rules != STATUS_OK) fuzz_check_refusal(rules, &e);
    check_dump(c);
    conf_free(c);
    fuzz_end(2000000 + 100 * n);
    return 0;
}
