/* tmpdir.h - a private folder for one test, removed with all that is in it.
 *
 * Lies under TMPDIR (default /tmp).  Fails the process loudly when it cannot be made: there is no test without it.
 */
#ifndef TESTS_SUPPORT_TMPDIR_H
#define TESTS_SUPPORT_TMPDIR_H

struct tmpdir {
    char path[200];
};
struct tmpdir tmpdir_make(const char *name);
void tmpdir_remove(const struct tmpdir *d);
const char *tmpdir_file(const struct tmpdir *d, const char *name, char out[300]); /* "<path>/<name>" in out */
#endif
