/* job_room.h - how much memory this process may come to: the machine's, or its control group's if that is less.
 *
 * Groups of version 2 and the memory groups of version 1; the limits of the groups above count too.  What can't be read is
 * passed over: a machine without groups has the machine's memory.
 */
#ifndef JOB_JOB_ROOM_H
#define JOB_JOB_ROOM_H
#include <stddef.h>

struct job_room {
    size_t bytes;     /* 0: not known */
    const char *what; /* static: "the machine has" or "the control group allows" */
};
/* root: "", or a folder that holds proc/self/cgroup and sys/fs/cgroup; machine: its memory in bytes, 0: asks for it. */
struct job_room job_room(const char *root, size_t machine);
#endif
