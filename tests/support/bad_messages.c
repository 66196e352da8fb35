/* bad_messages.c - see bad_messages.h. */
#include "tests/support/bad_messages.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIEW "{\"type\":\"view\",\"time\":1767225600000,\"user\":\"u1\",\"item\":\"i1\""

static void expand(struct buf *out, const char *p, const char *end);

/* N*TEXT%) at p; returns what is behind it. */
static const char *repeat(struct buf *out, const char *p, const char *end)
{
    char *star = NULL;
    struct buf once = {0};
    const unsigned long n = strtoul(p, &star, 10);
    const char *close = memmem(p, (size_t)(end - p), "%)", 2);
    if (*star != '*' || close == NULL) fail_msg("a broken %%(N*TEXT%%) in a table");
    expand(&once, star + 1, close);
    for (unsigned long i = 0; i < n; i++) buf_put(out, once.p, once.n);
    buf_fini(&once);
    return close + 2;
}

static void expand(struct buf *out, const char *p, const char *end)
{
    while (p < end) {
        unsigned byte = 0;
        if (*p != '%') {
            buf_u8(out, (uint8_t)*p++);
        } else if (p[1] == 'v') {
            buf_put(out, VIEW, sizeof VIEW - 1);
            p += 2;
        } else if (p[1] == '(') {
            p = repeat(out, p + 2, end);
        } else {
            if (end - p < 3 || sscanf(p + 1, "%2x", &byte) != 1) fail_msg("a broken %%hh in a table: %.20s", p);
            buf_u8(out, (uint8_t)byte);
            p += 3;
        }
    }
}

/* The text up to the next tab or the end of the line; *p moves behind it. */
static const char *column(const char **p, const char *end, const char **column_end)
{
    const char *from = *p, *tab = memchr(from, '\t', (size_t)(end - from));
    *column_end = tab != NULL ? tab : end;
    *p = tab != NULL ? tab + 1 : end;
    return from;
}

static void read_line(struct bad_message *m, const char *p, const char *end)
{
    const char *to;
    const char *from = column(&p, end, &to);
    (void)snprintf(m->outcome, sizeof m->outcome, "%.*s", (int)(to - from), from);
    from = column(&p, end, &to);
    (void)snprintf(m->name, sizeof m->name, "%.*s", (int)(to - from), from);
    if (to == end) fail_msg("a line without a message: %s", m->name);
    from = column(&p, end, &to);
    buf_clear(&m->message);
    buf_clear(&m->cleaned);
    expand(&m->message, from, to);
    expand(&m->cleaned, p, end);
    assert_false(m->message.oom || m->cleaned.oom);
}

size_t bad_messages_each(const char *table, void (*fn)(void *user, const struct bad_message *m), void *user)
{
    struct bad_message m = {0};
    char rest[200];
    size_t n, count = 0;
    (void)snprintf(rest, sizeof rest, "tests/fixtures/bad/%s.tsv", table);
    char *text = files_read(files_source(rest), &n);
    for (const char *p = text; p < text + n;) {
        const char *end = memchr(p, '\n', (size_t)(text + n - p));
        if (end == NULL) end = text + n;
        if (end > p && *p != '#') {
            read_line(&m, p, end);
            fn(user, &m);
            count++;
        }
        p = end + 1;
    }
    buf_fini(&m.message);
    buf_fini(&m.cleaned);
    free(text);
    return count;
}
