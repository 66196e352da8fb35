/* tmpdir.c - mkdtemp and nftw. */
#include "tests/support/tmpdir.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct tmpdir tmpdir_make(const char *name)
{
    struct tmpdir d;
    const char *base = getenv("TMPDIR");
    (void)snprintf(d.path, sizeof d.path, "%s/freshet-%s-XXXXXX", base ? base : "/tmp", name);
    if (mkdtemp(d.path) == NULL) {
        perror(d.path);
        exit(1);
    }
    return d;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void tmpdir_remove(const struct tmpdir *d)
{
    (void)nftw(d->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *tmpdir_file(const struct tmpdir *d, const char *name, char out[300])
{
    (void)snprintf(out, 300, "%s/%s", d->path, name);
    return out;
}
