/* redis_info.h - what a Redis server says of itself: which run it is, and how full its memory is.
 *
 * Only what the rest of freshet acts on.  Works without the right to CONFIG.  Thread: the connection's.
 */
#ifndef SERVING_REDIS_INFO_H
#define SERVING_REDIS_INFO_H
#include "serving/redis.h"

struct redis_info {
    char run_id[64];                /* another one after a restart, and on another server */
    uint64_t used_bytes, max_bytes; /* max 0: no limit of Redis's own */
    char policy[32];                /* maxmemory-policy: "noeviction" */
};
/* Errors as redis_call; INVALID when INFO is not allowed.  What the server leaves out stays empty. */
enum status redis_info(struct redis *r, struct redis_info *out, struct err *e) MUST_CHECK;
/* It may throw keys away that never expire: weights too. */
bool redis_info_evicts(const struct redis_info *i);
/* "used 12.0 MiB of maxmemory 16.0 MiB (noeviction)" */
#define REDIS_INFO_TEXT 120
void redis_info_memory(const struct redis_info *i, char out[REDIS_INFO_TEXT]);
#endif
