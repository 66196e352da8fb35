/* publish_holder.h - who holds a lease: the JSON at fr:{m}:lease, and whether that process still lives.
 *
 * A process is known by host, process-id space, id and the moment it began, so that another one with the same id is not
 * taken for it.  A stopped process lives; one that was killed does not, reaped or not.  Only serving/ includes this.
 */
#ifndef SERVING_PUBLISH_HOLDER_H
#define SERVING_PUBLISH_HOLDER_H
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publish_holder {
    char owner[64], host[128], space[64]; /* space tells apart containers that share a host name */
    char born[80];                        /* boot id and start time; "": not known */
    long pid;
    uint64_t epoch;
};
void publish_holder_self(struct publish_holder *h);                   /* this process; owner and epoch are left empty */
void publish_holder_parse(struct str text, struct publish_holder *h); /* what is missing stays empty, host "?" */
void publish_holder_format(const struct publish_holder *h, char *out, size_t cap);
bool publish_holder_killed(const struct publish_holder *h); /* it was of this host and space, and is gone */
#endif
