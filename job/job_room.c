/* job_room.c - see job_room.h. */
#include "job/job_room.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 1024 };

/* A limit in bytes; "max", and what is no number: none. */
static void take_limit(struct job_room *room, const char *path)
{
    char text[32] = "", *end;
    FILE *f = fopen(path, "r");
    if (f == NULL) return;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = 0;
    errno = 0;
    const unsigned long long limit = strtoull(text, &end, 10);
    if (end == text || errno != 0 || limit == 0 || (room->bytes != 0 && limit >= room->bytes)) return;
    *room = (struct job_room){(size_t)limit, "the control group allows"};
}

/* The group's own limit and those above it: /a/b, /a, and the root of what is seen here. */
static void take_group(struct job_room *room, const char *root, const char *mount, char *group, const char *file)
{
    char path[2 * PATH_ROOM];
    for (;;) {
        (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup%s%s/%s", root, mount, group, file);
        take_limit(room, path);
        char *slash = strrchr(group, '/');
        if (slash == NULL) return;
        *slash = 0;
    }
}

/* "0::/a/b" is version 2; "4:memory:/a/b" version 1. */
static void take_line(struct job_room *room, const char *root, char *line)
{
    char *names = strchr(line, ':'), *group = names != NULL ? strchr(names + 1, ':') : NULL;
    if (group == NULL) return;
    *group++ = 0;
    group[strcspn(group, "\n")] = 0;
    if (names[1] == 0)
        take_group(room, root, "", group, "memory.max");
    else if (strcmp(names + 1, "memory") == 0)
        take_group(room, root, "/memory", group, "memory.limit_in_bytes");
}

struct job_room job_room(const char *root, size_t machine)
{
    char line[PATH_ROOM];
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (machine == 0 && pages > 0 && page > 0) machine = (size_t)pages * (size_t)page;
    struct job_room room = {machine, "the machine has"};
    (void)snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "r");
    if (f == NULL) return room;
    while (fgets(line, sizeof line, f) != NULL) take_line(&room, root, line);
    (void)fclose(f);
    return room;
}
