/* publish_private.h - the inside of struct publish, shared by the publish_*.c files and nobody else.
 *
 * Two halves: what the mutex guards (mailboxes between learner and uploader), and what only the uploader's thread touches.
 */
#ifndef SERVING_PUBLISH_PRIVATE_H
#define SERVING_PUBLISH_PRIVATE_H
#include "serving/publish.h"
#include "serving/redis.h"
#include <pthread.h>
#include <stdatomic.h>

struct publish_weights_job {          /* immutable once handed over */
    struct publish_manifest manifest; /* chunks, kept, epoch are filled by the uploader */
    struct buf file;
};
struct publish_metrics_job {
    bool full;
    size_t n, n_info;
    struct publish_metric fields[PUBLISH_METRICS_MAX]; /* names point into text */
    struct publish_info info[PUBLISH_INFO_MAX];
    struct buf text;
};
struct publish_batch {
    struct buf entries; /* u8 kind, str id or u64 hash, str packed … */
    size_t n;
    struct publish_batch *next;
};
enum publish_entry { PUBLISH_ENTRY_USER = 1, PUBLISH_ENTRY_ITEM, PUBLISH_ENTRY_STATE };

#define PUBLISH_SEEN 262144 /* places of the direct-mapped memory of states handed over */
struct publish_seen {
    uint64_t hash;
    int64_t time_ms;
};
#define PUBLISH_LEASE_TEXT 512
struct publish {
    /* immutable */
    char model[65];
    int64_t keep, ttl_s;
    struct clock *clock;
    pthread_t thread;
    _Atomic int64_t alive_us; /* the learner's last sign of life; 0: none yet */

    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t wake, idle; /* for the uploader; for publish_flush */
    bool closing, busy, lost;
    int64_t deadline_us; /* of closing */
    struct publish_weights_job *waiting;
    struct publish_batch *first, *last, *pool;
    size_t n_batches;
    struct publish_metrics_job metrics;
    struct publish_state state;

    /* learner's */
    struct publish_seen *seen;

    /* uploader's */
    struct redis *redis;
    uint64_t connection; /* redis_connections() that was prepared */
    char run_id[64];     /* of the server last seen */
    char owner[33], lease[PUBLISH_LEASE_TEXT];
    int64_t renew_us; /* next renewal */
    bool ever_held;
    struct publish_weights_job *current; /* last one uploaded: chunks are compared with it; put back after a loss */
    struct publish_batch *batch;         /* under way */
    struct publish_metrics_job sending;
    struct publish_manifest *kept; /* (n_kept) versions in Redis, newest first */
    size_t n_kept, cap_kept;
    bool kept_known;
};

/* Each of these runs on the uploader's thread with a connection that is up. */
enum status publish_lease_hold(struct publish *p, struct err *e) MUST_CHECK; /* acquire or renew; CONFLICT: another's */
enum status publish_lease_watch(struct publish *p,
                                struct err *e) MUST_CHECK; /* WATCH and compare: a MULTI may follow */
enum status publish_lease_check(struct publish *p, struct err *e) MUST_CHECK; /* GET and compare */
void publish_lease_release(struct publish *p);
enum status publish_upload_weights(struct publish *p, struct publish_weights_job *j, struct err *e) MUST_CHECK;
enum status publish_upload_batch(struct publish *p, const struct publish_batch *b, struct err *e) MUST_CHECK;
enum status publish_upload_metrics(struct publish *p, const struct publish_metrics_job *m, struct err *e) MUST_CHECK;
enum status publish_load_kept(struct publish *p, struct err *e) MUST_CHECK;
void publish_forget_kept(struct publish *p);
void publish_weights_job_free(struct publish_weights_job *j);
void publish_batch_free(struct publish_batch *b);
#endif
