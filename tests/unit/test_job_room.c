/* test_job_room.c - the smallest of the machine's memory and the limits of its control groups.
 *
 * labels: quick
 */
#include "job/job_room.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GIB ((size_t)1 << 30)

static char root[64];

static void put(const char *path, const char *text)
{
    char full[300];
    (void)snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *p = strchr(full + strlen(root) + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = 0;
        (void)mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void is(size_t bytes, const char *what)
{
    const struct job_room room = job_room(root, 8 * GIB);
    assert_int_equal(room.bytes, bytes);
    assert_non_null(strstr(room.what, what));
}

static void test_smallest_limit(void **state)
{
    (void)state;
    is(8 * GIB, "machine"); /* no groups */
    put("proc/self/cgroup", "5:cpu:/other\n0::/system.slice/freshet.service\n");
    put("sys/fs/cgroup/system.slice/freshet.service/memory.max", "max\n");
    is(8 * GIB, "machine");
    put("sys/fs/cgroup/system.slice/freshet.service/memory.max", "6442450944\n");
    is(6 * GIB, "group");
    put("sys/fs/cgroup/system.slice/memory.max", "2147483648\n"); /* of the slice that it is in */
    is(2 * GIB, "group");
    put("sys/fs/cgroup/memory.max", "1073741824\n"); /* a container's, seen as the root */
    is(GIB, "group");
}

static void test_first_version_of_groups(void **state)
{
    (void)state;
    put("proc/self/cgroup", "12:cpuset:/x\n4:memory:/docker/a\n0::/elsewhere\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    put("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    is(8 * GIB, "machine");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "3221225472\n");
    is(3 * GIB, "group");
}

static void test_this_machine(void **state)
{
    (void)state;
    assert_true(job_room("", 0).bytes > 0);
}

static int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/job_room.XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[100];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest_limit),
        cmocka_unit_test(test_first_version_of_groups),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
