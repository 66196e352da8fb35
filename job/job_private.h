/* job_private.h - the insides of the loop, shared by the job_*.c files alone. */
#ifndef JOB_JOB_PRIVATE_H
#define JOB_JOB_PRIVATE_H
#include "base/queue.h"
#include "featurize/describe.h"
#include "featurize/token.h"
#include "job/checkpoint.h"
#include "job/fit.h"
#include "job/job.h"
#include "job/learner.h"
#include "job/progress.h"
#include "job/verdict.h"
#include "kernels/kern.h"
#include "schemas/conf_variant.h"
#include "serving/publish.h"
#include "trainer/ranks.h"
#include <pthread.h>
#include <stdatomic.h>

/* Redis lacks records: stored users go out first, in key order, then all that is in memory, a slice at a time. */
struct job_refill {
    bool stored, again; /* the walk through the store is under way; and begins anew when it is through */
    bool memory;        /* what is in memory is being handed out */
    char from[EVENT_ID_MAX];
    size_t n_from; /* the walk goes on at this key */
    uint64_t users, slices;
    int64_t began_us, longest_us;
};
struct job {
    struct conf *conf; /* live keys change in place, on the learner's thread (job_reload.c) */
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
    size_t n_logs; /* files that are read */
    atomic_bool stop_polling;
    _Atomic int64_t polled_us; /* the poller's last sign of life */
    int64_t lag_events;        /* as the newest batch said; -1 unknown */
    /* outwards */
    struct publish *publish;
    struct publish *variants[CONF_VARIANTS_MAX]; /* of [variant.NAME], in its order */
    char variants_text[1200];                    /* for dashboards: each line in a few words; "" without challengers */
    struct served *served;                       /* reads the log of answers; NULL: it is not read */
    struct job_refill refill;
    uint64_t unconsumed; /* users that had left memory before their records went out, at the last refill */
    const char *phase;   /* as fr:m:info says it */
    /* lease and folder, on the way in */
    bool waited, saw_owner, saw_held,
        tried_folder; /* as a standby; another's lease; the folder held; the folder tried */
    struct err pause_why;
    int64_t paused_us;        /* since when the disk is full; 0: it is not */
    int64_t say_us, taken_us; /* when to say again; when both were ours */
    uint64_t backup_failures;
    bool warm;          /* began with what Redis held */
    uint64_t given_out; /* the largest version that Redis knew of at the start */
    bool ready;         /* the manager was told READY=1 */
    bool letters_full;  /* the dead letters' disk is full: their rest waits in memory */
    struct dump *dump, *dump_slates;
    struct fit *fit; /* NULL: what settles is learnt at once */
    struct progress progress;
    struct ranks *ranks;              /* NULL: it learns alone */
    struct job_options ranks_options; /* of a rank other than 0 */
    uint64_t checkpoint_events, checkpoint_slates, checkpoint_learnt, publish_mark;
    int64_t checkpoint_wall_ms, settled_wall_ms; /* settled: when the newest label was settled, by the wall clock */
    int64_t batch_wall_ms;                       /* when the batch under way was taken */
    int64_t consumed_wall_ms, learnt_wall_ms;    /* … of the event that settled, and when it had been learnt from */
    /* when things are due, monotonic us */
    int64_t started_us, stop_us, next_backup_us, next_status_us, backup_wall_ms;
    int64_t next_command_us;
    bool shows_kept[CONF_LINES_MAX]; /* of each line: a pinned or blessed version was handed over last */
    uint64_t handed[CONF_LINES_MAX]; /* the version that was; 0: none yet */
    uint64_t refused_version;        /* newest one that was not published; 0: none */
    uint64_t noted;                  /* verdicts that were told to fr:{m}:log */
    char said_sha256[VERDICTS_MAX][HASH_SHA256_HEX]; /* of what those are about that were not told, by number; "": not known */
    int64_t next_kept_us;            /* when a version is kept for job_served.c */
    int64_t next_checkpoint_us, next_publish_us, next_features_us, next_metrics_us;
    int64_t pace_wall_us, pace_event_ms;     /* --speed */
    bool reached;                            /* --until: what comes now is not taken */
    uint64_t events_before, examples_before; /* of earlier runs on this folder */
    uint64_t metrics_events, metrics_examples;
    int64_t metrics_us;
    double events_per_s, examples_per_s;
    struct report_figures recent; /* as dashboards see it */
    int64_t recent_until_us;
    int64_t next_parts_us;
    char part_figures[REPORT_PARTS_MAX][3][64]; /* names of their metrics */
    bool recent_whole;
    size_t bound_bytes; /* what memory can come to (job_bound.h) */
};
extern atomic_bool job_stopping, job_reloading;
extern atomic_bool job_together, job_stop_asked; /* several processes: they stop when all know that one was told to */

static inline int64_t job_now_us(const struct job *j) /* monotonic */
{
    return j->clock->mono_us(j->clock);
}
enum status job_open(struct job *j, struct err *e) MUST_CHECK; /* job_open.c */
void job_close(struct job *j);
enum status job_poll_start(struct job *j, struct err *e) MUST_CHECK; /* job_poll.c */
void job_poll_stop(struct job *j);
/* job_lease.c.  ask: before anything is opened.  take: waits for lease and folder, opens the folder; END: told to stop first.
 * check: before anything durable or published; CONFLICT: another has taken over (host, pid and epoch in the text). */
enum status job_lease_ask(struct job *j, struct err *e) MUST_CHECK;
enum status job_lease_take(struct job *j, struct err *e) MUST_CHECK;
enum status job_lease_check(struct job *j, struct err *e) MUST_CHECK;
/* job_warm.c: an empty folder of a model that has a version in Redis goes on with that one, and waits until Redis answers;
 * any other takes no number that Redis knows of.  END: told to stop. */
enum status job_warm(struct job *j, struct err *e) MUST_CHECK;
/* Checkpoint now; then, when asked and something is new, publish it.  On a full disk it waits until there is room, with
 * everything but learning going on; FULL when told to stop meanwhile. */
enum status job_checkpoint(struct job *j, const char *publish_reason, struct err *e) MUST_CHECK; /* job_publish.c */
enum status job_checkpoint_once(struct job *j, const char *publish_reason,
                                struct err *e) MUST_CHECK; /* FULL: the disk */
enum status job_pause(struct job *j, const char *publish_reason, const struct err *why,
                      struct err *e) MUST_CHECK; /* job_pause.c */
void job_backup_tick(struct job *j, int64_t now_us);
void job_publish_start(struct job *j); /* what Redis has of the version that we begin with */
/* Features and metrics alone: also while learning is paused. */
enum status job_publish_views(struct job *j, int64_t now_us, struct err *e) MUST_CHECK;
/* job_publish.c, for any line (0: the default one), as it is or as it is pinned; champion as publish_version has it. */
enum status job_publish_line(struct job *j, size_t line, const char *champion, const char *reason,
                             struct err *e) MUST_CHECK;
enum status job_publish_pinned(struct job *j, size_t line, const char *champion, struct err *e) MUST_CHECK;
/* job_variants.c */
enum status job_variants_open(struct job *j, struct err *e) MUST_CHECK;
void job_publish_ending(struct job *j); /* of the default line, too: no further turn where Redis is away */
void job_variants_close(struct job *j);
void job_variants_reload(struct job *j);
void job_variants_touch(struct job *j);
enum status job_variants_publish(struct job *j, const char *reason, struct err *e) MUST_CHECK;
bool job_variants_behind(struct job *j);
enum status job_variants_flush(struct job *j, int64_t timeout_ms, struct err *e) MUST_CHECK;
void job_variants_figures(struct job *j, const struct report *r);
/* job_served.c.  tick: what was read since.  keep: the versions that have just been published, now and then. */
enum status job_served_open(struct job *j, struct err *e) MUST_CHECK;
enum status job_served_tick(struct job *j, struct err *e) MUST_CHECK;
enum status job_served_keep(struct job *j, struct err *e) MUST_CHECK;
void job_reload_tick(struct job *j); /* job_reload.c */
/* job_ranks.c: nothing where the job learns alone.  begin: before anything is opened; INVALID: what is not shared.  meet: rank 0 once
 * its folder is open, the others before theirs is.  join: from now on steps are everybody's; CONFLICT: they begin with
 * different states.  agree: at the end, before anything is durable.  part: others that wait are told why. */
enum status job_ranks_begin(struct job *j, struct err *e) MUST_CHECK;
bool job_ranks_other(const struct job *j); /* one of several that is not rank 0: keeps nothing */
enum status job_ranks_meet(struct job *j, bool folder_is_open, struct err *e) MUST_CHECK;
enum status job_ranks_join(struct job *j, struct err *e) MUST_CHECK;
enum status job_ranks_agree(struct job *j, struct err *e) MUST_CHECK;
void job_ranks_part(struct job *j, enum status st, const struct err *e);
/* job_alive.c: signs of life to systemd and to the lease, also while one record settles many lists; where such a record is given up as
 * the job is to stop (loop: END), what is said of it. */
void job_alive(struct job *j, int64_t now_us, bool took);
void job_watch_going(struct job *j);
void job_abandon(struct job *j);
enum status job_publish_tick(struct job *j, int64_t now_us, struct err *e) MUST_CHECK;
/* job_gate.c.  Before a checkpoint: parameters that are not finite never become durable (the line goes back, or CORRUPT).
 * Before a publish: *held is true when the version is refused, and why is in the log.  bare: Redis has no version, this
 * process handed none over, and the folder has the blessed one: that is published in the place of a refused one. */
enum status job_gate_durable(struct job *j, struct err *e) MUST_CHECK;
enum status job_gate_version(struct job *j, bool *held, struct err *e) MUST_CHECK;
bool job_gate_bare(const struct job *j);
enum status job_command_tick(struct job *j, int64_t now_us, struct err *e) MUST_CHECK; /* job_command.c: orders */
void job_gate_hashes(struct job *j); /* before a checkpoint, which may drop the files of what was said since */
void job_gate_notes(struct job *j);  /* what was said since, to fr:{m}:log */
/* job_pin.c, for any line (0: the default one).  params: of a version that is to be published instead of the newest; NULL and
 * OK: it is in force already, or can't be had.  behind: Redis has another version of the line in force than the pinned one. */
struct publish *job_publisher(const struct job *j, size_t line);
enum status job_pin_params(struct job *j, size_t line, uint64_t version, struct param_set **out,
                           struct err *e) MUST_CHECK;
bool job_pin_behind(const struct job *j, size_t line);
/* job_features.c: what changed since the last call; while Redis is refilled, a slice of some milliseconds. */
enum status job_publish_features(struct job *j, struct err *e) MUST_CHECK;
void job_refill(struct job *j); /* all records are to go out again */
bool job_refilling(const struct job *j);
enum status job_publish_last(struct job *j, struct err *e) MUST_CHECK;       /* waits for the uploader, within bounds */
enum status job_check_report(const struct job *j, struct err *e) MUST_CHECK; /* job_report.c */
enum status job_write_report(struct job *j, struct err *e) MUST_CHECK;
double job_rss_bytes(void);                      /* largest so far */
void job_figures(struct job *j, int64_t now_us); /* job_figures.c */
#endif
