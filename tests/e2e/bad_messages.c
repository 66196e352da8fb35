/* bad_messages.c - puts the messages of tests/fixtures/bad/<table>.tsv between the lines of a good log.
 *
 *   bad_messages TABLE bad|ok MOST_BYTES <good >mixed
 *
 * Writes bad_messages.reasons (one outcome a line) and bad_messages.base64 (one message a line, cut to ingest.max_bytes, as
 * a dead letter has it) beside it.  Messages of more than MOST_BYTES, or with a newline in them, are left out.
 */
#include "tests/support/bad_messages.h"
#include "ingest/reject_letter.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 1048576 /* ingest.max_bytes by default */

struct mixing {
    bool ok;
    size_t most, written;
    char *line; /* of the good log */
    size_t cap;
    FILE *reasons, *base64;
};

static void good_lines(struct mixing *x, int n)
{
    for (; n > 0; n--) {
        const ssize_t got = getline(&x->line, &x->cap, stdin);
        if (got <= 0) return;
        (void)fwrite(x->line, 1, (size_t)got, stdout);
    }
}

static void put(void *user, const struct bad_message *m)
{
    struct mixing *x = user;
    struct buf text = {0};
    struct str kept = {(const char *)m->message.p, m->message.n};
    if ((strcmp(m->outcome, "ok") == 0) != x->ok || kept.n == 0 || kept.n > x->most ||
        memchr(kept.p, '\n', kept.n) != NULL)
        return;
    good_lines(x, 3);
    (void)fwrite(kept.p, 1, kept.n, stdout);
    (void)putchar('\n');
    if (kept.n > MAX_BYTES) kept.n = MAX_BYTES;
    reject_base64_put(&text, kept);
    (void)fprintf(x->reasons, "%s\n", m->outcome);
    (void)fprintf(x->base64, "%.*s\n", (int)text.n, (const char *)text.p);
    buf_fini(&text);
    x->written++;
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    struct mixing x = {.ok = strcmp(argv[2], "ok") == 0, .most = strtoul(argv[3], NULL, 10)};
    x.reasons = fopen("bad_messages.reasons", "w");
    x.base64 = fopen("bad_messages.base64", "w");
    if (x.reasons == NULL || x.base64 == NULL) return 1;
    (void)bad_messages_each(argv[1], put, &x);
    good_lines(&x, INT32_MAX);
    free(x.line);
    const bool whole = fclose(x.reasons) == 0 && fclose(x.base64) == 0 && fflush(stdout) == 0 && x.written > 0;
    return whole ? 0 : 1;
}
