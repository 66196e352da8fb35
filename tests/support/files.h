/* files.h - whole files for tests: what lies in the source tree, what a test puts into its own folder.
 *
 * A failure to read or write fails the test.  Memory is malloc's: it isn't counted with the project's own.
 */
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H
#include "tests/support/tmpdir.h"
#include <stddef.h>

const char *files_source(const char *rest);    /* "<source tree>/<rest>"; good until the fourth next call */
char *files_read(const char *path, size_t *n); /* the caller's (free); a NUL after the n bytes */
void files_put(const struct tmpdir *d, const char *name, const void *p, size_t n);
void files_put_text(const struct tmpdir *d, const char *name, const char *text);
#endif
