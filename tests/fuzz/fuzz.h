/* fuzz.h - what every libFuzzer target has: a way to take its input apart, a file made of bytes, and the invariants.
 *
 * A target is fuzz_<name>.c with LLVMFuzzerTestOneInput; its seeds and every find lie in corpus/<name>/.  Crashes are
 * libFuzzer's and the sanitizers' to see; FUZZ_CHECK states what must hold besides (what is written reads back equal, ids
 * are in range), fuzz_begin and fuzz_end that one input leaves no block behind and never holds more memory than allowed.
 * Built by the preset `fuzz` (clang alone has libFuzzer); run.sh runs it.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Says where and what, then aborts, so that libFuzzer keeps the input. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) fuzz_fail(__FILE__, __LINE__, #condition, NULL);                                             \
    } while (0)
/* The same for a call that must succeed, with its sentence. */
#define FUZZ_OK(call, e)                                                                                               \
    do {                                                                                                               \
        if ((call) != STATUS_OK) fuzz_fail(__FILE__, __LINE__, #call, (e)->text);                                      \
    } while (0)
_Noreturn void fuzz_fail(const char *file, int line, const char *what, const char *text);

/* A failed call's status is one of those that bad input may have, and its sentence is there. */
void fuzz_check_refusal(enum status st, const struct err *e);

struct fuzz_input {
    const uint8_t *p;
    size_t n;
};
uint8_t fuzz_byte(struct fuzz_input *in);                 /* 0 when there is none left */
struct str fuzz_take(struct fuzz_input *in, size_t most); /* at most so many bytes */
struct str fuzz_line(struct fuzz_input *in);              /* up to a newline, which is taken too */
struct str fuzz_rest(struct fuzz_input *in);              /* never absent */

/* A file of these bytes, in memory; its path is good until the next call with the same slot (0 to 7). */
const char *fuzz_file(unsigned slot, struct str bytes);
/* "<source tree>/<rest>", for what targets open once; good for ever, eight of them. */
const char *fuzz_source(const char *rest);
/* Defaults with these options ("section.key=value", NULL ends); never NULL. */
struct conf *fuzz_conf(const char *const *options);

/* From here on blocks and bytes count ... */
void fuzz_begin(void);
/* ... and now all blocks are given back, and no more than `most_bytes` were held at once (with what libraries took). */
void fuzz_end(size_t most_bytes);
#endif
