/* files.c - see files.h */
#include "tests/support/files.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *files_source(const char *rest)
{
    static char path[4][4096];
    static unsigned turn;
    const char *root = getenv("FRESHET_SOURCE");
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", root ? root : ".", rest);
    return p;
}

char *files_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s cannot be opened", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n, f), *n);
    p[*n] = '\0';
    (void)fclose(f);
    return p;
}

void files_put(const struct tmpdir *d, const char *name, const void *p, size_t n)
{
    char path[300];
    FILE *f = fopen(tmpdir_file(d, name, path), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void files_put_text(const struct tmpdir *d, const char *name, const char *text)
{
    files_put(d, name, text, strlen(text));
}
