/* publish_private.h - the inside of struct publish, shared by the publish_*.c files and nobody else.
 *
 * Two halves: what the mutex guards (mailboxes between learner and uploader), and what only the uploader's thread touches.
 */
#ifndef SERVING_PUBLISH_PRIVATE_H
#define SERVING_PUBLISH_PRIVATE_H
#include "schemas/key.h"
#include "serving/publish.h"
#include "serving/publish_holder.h"
#include "serving/publish_need.h"
#include "serving/publish_rows.h"
#include "serving/redis.h"
#include "serving/redis_info.h"
#include <pthread.h>
#include <stdatomic.h>

struct publish_weights_job {          /* immutable once handed over */
    struct publish_manifest manifest; /* chunks, kept, epoch are filled by the uploader */
    struct buf file;                  /* the dense piece */
    struct buf pages;                 /* rows that changed since the job before; empty once they are in the image */
    struct publish_rows *rows;        /* the publisher's; NULL: the version has none */
    bool says_champion;               /* who is in charge is said in the same transaction: */
    char champion[CONF_VARIANT_NAME]; /* "": the default variant */
};
struct publish_metrics_job {
    bool full;
    size_t n, n_info;
    double values[PUBLISH_METRICS_MAX]; /* (n) */
    struct buf text;                    /* their n names, then n_info names each with its text, NUL after each */
};
struct publish_batch {
    struct buf entries; /* u8 kind, str id or u64 hash, str packed … */
    size_t n;
    struct publish_batch *next;
};
#define PUBLISH_LEASE_TEXT 640
enum publish_entry { PUBLISH_ENTRY_USER = 1, PUBLISH_ENTRY_ITEM, PUBLISH_ENTRY_STATE };

#define PUBLISH_SEEN 262144 /* places of the direct-mapped memory of states handed over */
struct publish_seen {
    uint64_t hash;
    int64_t time_ms;
};
#define PUBLISH_ORDERS_MAX 8
#define PUBLISH_ORDERS_MS 250 /* how often the list of orders is looked at */
struct publish_order {
    struct command command;
    struct command_answer answer;
    bool taken, answered;
    char text[COMMAND_BYTES_MAX]; /* (n_text) as it stands in the list */
    size_t n_text;
};
struct publish_sending { /* copies of what the mailboxes hold */
    struct publish_note notes[PUBLISH_NOTES_MAX];
    struct publish_order orders[PUBLISH_ORDERS_MAX];
    size_t n_notes, n_orders;
    uint64_t notes_end; /* the number after the last note's */
};
#define PUBLISH_WATCH_MS 1000  /* how often the uploader looks whether all it put there is still there */
#define PUBLISH_CLOSE_MS 1000  /* of publish_close */
#define PUBLISH_RETRY_MS 200   /* after a fault that is not the connection's */
#define PUBLISH_FOREIGN_MS 250 /* how often a standby looks at the lease */
struct publish {
    /* immutable */
    char model[KEY_MODEL_MAX];
    struct publish *leader; /* whose lease fences what is written here, for a variant's publisher; NULL: our own.  Borrowed */
    struct clock *clock;
    pthread_t thread;
    _Atomic int64_t keep, ttl_s; /* live keys */
    _Atomic int64_t alive_us;    /* the learner's last sign of life; 0: none yet */

    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t wake, idle; /* for the uploader; for publish_flush */
    bool busy, lost;
    bool ending; /* closing comes */
    atomic_bool closing;
    _Atomic int64_t deadline_us; /* of closing, set before it */
    struct publish_weights_job *waiting;
    struct publish_batch *first, *last, *pool;
    size_t n_batches;
    struct publish_metrics_job metrics;
    struct publish_order orders[PUBLISH_ORDERS_MAX];
    struct publish_note notes[PUBLISH_NOTES_MAX];
    size_t n_orders, n_notes;
    uint64_t notes_gone; /* sent, or dropped for newer ones: the number of notes[0] */
    struct publish_state state;
    char held[PUBLISH_LEASE_TEXT]; /* the lease's text while it is ours, for those that follow us */

    /* learner's */
    struct publish_seen *seen;
    struct publish_rows *rows; /* from the first version that has any; its uploader's half goes with the jobs */

    /* uploader's */
    struct redis *redis;
    uint64_t connection; /* redis_connections() that was prepared */
    struct redis_info server;
    struct publish_holder self; /* with our owner token and epoch */
    char lease[PUBLISH_LEASE_TEXT];
    int64_t renew_us, watch_us; /* when lease and content are looked at next */
    bool ever_held;
    uint64_t beat, acked; /* of our marker in fr:m:info: the newest one sent; the newest one known to have arrived */
    bool marked;          /* a marker was written */
    bool said_lost;       /* since the last look */
    bool said_evicts, said_need;
    struct publish_need need; /* all but the weights, whose size comes with the first version */
    bool in_transaction;      /* MULTI was said, EXEC was not */
    size_t fenced;            /* commands of the transaction under way */
    int64_t weights_us;       /* not before then is a version tried again that Redis had no memory for */
    int64_t weights_wait;     /* … and how long the next time, ms */
    struct err full;          /* what it was refused with */
    struct {
        uint64_t version; /* 0: none */
        size_t n;
    } stray;                             /* chunks that a publish which came to nothing may have left */
    struct publish_weights_job *current; /* last one uploaded: put back after a loss */
    struct publish_batch *batch;         /* under way */
    struct publish_metrics_job sending;
    struct publish_sending sending_orders;
    int64_t orders_us;             /* when the list of orders is looked at next */
    struct publish_manifest *kept; /* (n_kept) versions in Redis, newest first */
    size_t n_kept, cap_kept;
    bool kept_known;
    uint64_t listed[PUBLISH_KEPT_MAX]; /* (n_listed) the versions of that list when it was known last */
    size_t n_listed;
};

/* Each of these runs on the uploader's thread with a connection that is up. */

/* publish_uploader.c: the loop.  Argument: struct publish. */
void *publish_uploader(void *p);
bool publish_has_work(const struct publish *p);                         /* under lock */
void publish_wait_on(struct publish *p, pthread_cond_t *c, int64_t ms); /* at most ms of real time, under lock */

/* publish_lease.c.  Acquires or renews when that is due; CONFLICT: another's.  Every write lies between fence_begin, which
 * makes sure that the lease is ours, and fence_end, at which Redis drops all of it unless the lease stayed so meanwhile. */
enum status publish_lease_keep(struct publish *p, struct err *e) MUST_CHECK;
void publish_lease_release(struct publish *p);
enum status publish_fence_begin(struct publish *p, struct err *e) MUST_CHECK;
enum status publish_fence_add(struct publish *p, struct err *e, const struct str *args, size_t n) MUST_CHECK;
/* *out (may be NULL): the replies of the commands, in order, until redis_clear. */
enum status publish_fence_end(struct publish *p, const struct redis_reply **out, struct err *e) MUST_CHECK;
/* One that failed between the two: its connection goes, on which all that follows would be queued and never done. */
void publish_fence_drop(struct publish *p);

/* publish_watch.c: is what was published still there? */
enum status publish_greet(struct publish *p, struct err *e) MUST_CHECK; /* after connecting */
enum status publish_watch(struct publish *p, struct err *e) MUST_CHECK; /* when due */
void publish_set_lost(struct publish *p, const char *why);              /* everything goes out again */

/* publish_types.c: after a write that failed so, keys of another type than ours go; what belongs there follows by itself. */
bool publish_is_wrong_type(enum status st, const struct err *e);
enum status publish_mend_types(struct publish *p, struct err *e) MUST_CHECK;

/* publish_kept.c: the versions in Redis. */
enum status publish_load_kept(struct publish *p, struct err *e) MUST_CHECK;
void publish_forget_kept(struct publish *p);
/* Version i stays when m comes: it is older and within the keep count (m counts). */
bool publish_kept_stays(const struct publish *p, const struct publish_manifest *m, size_t i);
/* Chunk i of that version is named by m (NULL: by none) or by one that stays. */
bool publish_kept_names(const struct publish *p, const struct publish_manifest *m, size_t i, uint64_t version);
enum status publish_kept_list(const struct publish *p, struct publish_manifest *m, struct err *e) MUST_CHECK;
enum status publish_kept_add(struct publish *p, struct str json, struct err *e) MUST_CHECK; /* it is in force */
enum status publish_clean_strays(struct publish *p, struct err *e) MUST_CHECK;

/* publish_orders.c: looks when due; sends answers and notes once no version waits. */
enum status publish_read_orders(struct publish *p, struct err *e) MUST_CHECK;
enum status publish_send_answers(struct publish *p, struct err *e) MUST_CHECK;
bool publish_orders_work(const struct publish *p); /* under lock: something is to be sent */

/* publish_weights.c, publish_features.c */
enum status publish_upload_weights(struct publish *p, struct publish_weights_job *j, struct err *e) MUST_CHECK;
enum status publish_add_champion(struct publish *p, const char *name, struct err *e) MUST_CHECK; /* to the transaction */
void publish_weights_job_free(struct publish_weights_job *j);
enum status publish_upload_batch(struct publish *p, const struct publish_batch *b, struct err *e) MUST_CHECK;
enum status publish_upload_metrics(struct publish *p, const struct publish_metrics_job *m, struct err *e) MUST_CHECK;
void publish_batch_free(struct publish_batch *b);
#endif
