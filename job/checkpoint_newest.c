/* checkpoint_newest.c - see checkpoint_newest.h. */
#include "job/checkpoint_newest.h"
#include "base/file.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 160 };

static int line_of(char out[LINE_MAX_BYTES], const struct checkpoint_newest *n)
{
    const int at = snprintf(out, LINE_MAX_BYTES, "version=%llu txnid=%llu floor=%llu", (unsigned long long)n->version,
                            (unsigned long long)n->txnid, (unsigned long long)n->floor);
    return at + snprintf(out + at, LINE_MAX_BYTES - (size_t)at, " xxh3=%016llx\n",
                         (unsigned long long)hash_bytes(out, (size_t)at));
}

void checkpoint_newest_read(int weights, struct checkpoint_newest *out)
{
    char text[LINE_MAX_BYTES + 1] = "", want[LINE_MAX_BYTES];
    unsigned long long version, txnid, floor;
    *out = (struct checkpoint_newest){0};
    const int fd = openat(weights, "newest", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    const ssize_t n = read(fd, text, LINE_MAX_BYTES);
    (void)close(fd);
    if (n <= 0 || sscanf(text, "version=%llu txnid=%llu floor=%llu", &version, &txnid, &floor) != 3) return;
    const struct checkpoint_newest got = {.there = true, .version = version, .txnid = txnid, .floor = floor};
    if (line_of(want, &got) == n && memcmp(want, text, (size_t)n) == 0) *out = got;
}

enum status checkpoint_newest_write(int weights, const struct checkpoint_newest *n, struct err *e)
{
    char text[LINE_MAX_BYTES];
    const int bytes = line_of(text, n);
    return file_write(weights, "newest", text, (size_t)bytes, e);
}
