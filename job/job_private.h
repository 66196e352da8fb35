/* job_private.h - the insides of the loop, shared by the job_*.c files alone. */
#ifndef JOB_JOB_PRIVATE_H
#define JOB_JOB_PRIVATE_H
#include "base/queue.h"
#include "featurize/describe.h"
#include "featurize/token.h"
#include "job/checkpoint.h"
#include "job/job.h"
#include "job/learner.h"
#include "job/progress.h"
#include "kernels/kern.h"
#include "serving/publish.h"
#include <pthread.h>
#include <stdatomic.h>

#define JOB_BATCHES 8 /* in flight between poller and learner */

struct job {
    const struct conf *conf;
    const struct job_options *options;
    struct clock *clock;
    char state_dir[600];
    bool temporary;
    /* what the learner borrows */
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    struct checkpoint *checkpoint;
    struct learner *learner;
    /* the stream */
    struct source *source;
    struct reject_sink *sink;
    struct queue *full, *empty; /* of struct source_batch */
    pthread_t poller;
    bool polling;
    struct err poller_error;
    enum status poller_status;
    uint64_t base; /* added to a file's ordinals */
    atomic_bool stop_polling;
    int64_t lag_events; /* as the newest batch said; -1 unknown */
    /* outwards */
    struct publish *publish;
    bool refill;         /* Redis lacks records that only the store has */
    uint64_t unconsumed; /* users that had left memory before their records went out, at the last refill */
    const char *phase;   /* as fr:m:info says it */
    struct dump *dump;
    struct progress progress;
    uint64_t published_version, checkpoint_events, publish_mark;
    int64_t checkpoint_wall_ms, settled_wall_ms; /* settled: when the newest label was settled, by the wall clock */
    /* when things are due, monotonic us */
    int64_t started_us, next_checkpoint_us, next_publish_us, next_features_us, next_metrics_us;
    int64_t pace_wall_us, pace_event_ms;     /* --speed */
    uint64_t events_before, examples_before; /* of earlier runs on this folder */
    uint64_t metrics_events, metrics_examples;
    int64_t metrics_us;
    double events_per_s, examples_per_s;
};
extern atomic_bool job_stopping;

enum status job_open(struct job *j, struct err *e) MUST_CHECK; /* job_open.c */
void job_close(struct job *j);
enum status job_poll_start(struct job *j, struct err *e) MUST_CHECK; /* job_poll.c */
void job_poll_stop(struct job *j);
/* Checkpoint now; then, when asked and something is new, publish it. */
enum status job_checkpoint(struct job *j, const char *publish_reason, struct err *e) MUST_CHECK; /* job_publish.c */
/* After publish_open.  CONFLICT: another learner holds the model's lease; its host and pid are in the text. */
enum status job_publish_start(struct job *j, struct err *e) MUST_CHECK;
enum status job_publish_tick(struct job *j, int64_t now_us, struct err *e) MUST_CHECK;
enum status job_publish_features(struct job *j, struct err *e) MUST_CHECK;
enum status job_publish_last(struct job *j, struct err *e) MUST_CHECK;       /* waits for the uploader, within bounds */
enum status job_check_report(const struct job *j, struct err *e) MUST_CHECK; /* job_report.c */
enum status job_write_report(struct job *j, struct err *e) MUST_CHECK;
void job_figures(struct job *j, int64_t now_us);
#endif
