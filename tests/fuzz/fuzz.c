/* fuzz.c - see fuzz.h. */
#include "tests/fuzz/fuzz.h"
#include <fcntl.h>
#include <sanitizer/allocator_interface.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 8

_Noreturn void fuzz_fail(const char *file, int line, const char *what, const char *text)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s%s%s\n", file, line, what, text ? ": " : "", text ? text : "");
    abort();
}

void fuzz_check_refusal(enum status st, const struct err *e)
{
    FUZZ_CHECK(st == STATUS_INVALID || st == STATUS_CORRUPT || st == STATUS_UNSUPPORTED || st == STATUS_FULL ||
               st == STATUS_IO || st == STATUS_NOT_FOUND);
    FUZZ_CHECK(e->code == st && e->text[0] != 0 && memchr(e->text, 0, sizeof e->text) != NULL);
}

uint8_t fuzz_byte(struct fuzz_input *in)
{
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

struct str fuzz_take(struct fuzz_input *in, size_t most)
{
    const struct str s = {(const char *)in->p, in->n < most ? in->n : most};
    in->p += s.n;
    in->n -= s.n;
    return s;
}

struct str fuzz_line(struct fuzz_input *in)
{
    const uint8_t *end = in->n > 0 ? memchr(in->p, '\n', in->n) : NULL;
    const struct str s = fuzz_take(in, end != NULL ? (size_t)(end - in->p) : in->n);
    (void)fuzz_byte(in);
    return s;
}

struct str fuzz_rest(struct fuzz_input *in)
{
    const struct str s = fuzz_take(in, in->n);
    return s.p != NULL ? s : STR("");
}

const char *fuzz_file(unsigned slot, struct str bytes)
{
    static int fds[SLOTS];
    static char paths[SLOTS][40];
    FUZZ_CHECK(slot < SLOTS);
    if (fds[slot] == 0) {
        fds[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        (void)snprintf(paths[slot], sizeof paths[slot], "/proc/self/fd/%d", fds[slot]);
    }
    FUZZ_CHECK(fds[slot] > 0 && ftruncate(fds[slot], 0) == 0);
    FUZZ_CHECK(pwrite(fds[slot], bytes.p, bytes.n, 0) == (ssize_t)bytes.n);
    return paths[slot];
}

const char *fuzz_source(const char *rest)
{
    static char paths[SLOTS][400];
    static unsigned n;
    const char *root = getenv("FRESHET_SOURCE");
    FUZZ_CHECK(n < SLOTS);
    (void)snprintf(paths[n], sizeof paths[n], "%s/%s", root != NULL ? root : ".", rest);
    return paths[n++];
}

struct conf *fuzz_conf(const char *const *options)
{
    struct err e = {0};
    struct conf *c = NULL;
    FUZZ_OK(conf_new(&c, &e), &e);
    for (; options != NULL && *options != NULL; options++) FUZZ_OK(conf_set_option(c, *options, &e), &e);
    return c;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static atomic_llong held, peak;
static long blocks;

static void on_malloc(const volatile void *p, size_t n)
{
    (void)p;
    const long long now = atomic_fetch_add(&held, (long long)n) + (long long)n;
    if (now > atomic_load(&peak)) atomic_store(&peak, now);
}

static void on_free(const volatile void *p)
{
    if (p != NULL) atomic_fetch_sub(&held, (long long)__sanitizer_get_allocated_size(p));
}

void fuzz_begin(void)
{
    static bool hooked;
    if (!hooked) hooked = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) != 0;
    blocks = mem_live();
    atomic_store(&held, 0);
    atomic_store(&peak, 0);
}

void fuzz_end(size_t most_bytes)
{
    if (mem_live() != blocks) (void)fprintf(stderr, "%ld blocks are left\n", mem_live() - blocks);
    FUZZ_CHECK(mem_live() == blocks);
    if (atomic_load(&peak) > (long long)most_bytes)
        (void)fprintf(stderr, "%lld bytes were held, %zu are allowed\n", atomic_load(&peak), most_bytes);
    FUZZ_CHECK(atomic_load(&peak) <= (long long)most_bytes);
}
