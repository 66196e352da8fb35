/* job.h - the one loop that run and replay share: source → learner → checkpoint → publish.
 *
 * Two threads of its own: the poller fills batches, the learner (the caller's thread) takes them in order; a bounded queue
 * between them is the back-pressure.  Signals set `job_stop`; the loop then finishes its batch, checkpoints, publishes.
 * A full disk pauses the learner, not the poller: it goes on by itself when there is room.
 */
#ifndef JOB_JOB_H
#define JOB_JOB_H
#include "base/clock.h"
#include "base/status.h"
#include "job/fit.h"
#include "schemas/conf.h"
#include "schemas/report.h"
#include "trainer/eval.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_options {
    bool replay; /* log files; else Kafka */
    const char *const *paths;
    size_t n_paths;
    bool learn, flush;
    const struct fit_options *fit; /* replay: epochs over the log (job/fit.h); NULL: as it comes */
    struct eval_warmup warmup;
    uint64_t publish_every; /* steps; 0: by publish.every_ms (run) or only at the end (replay) */
    int64_t until_ms;       /* ends at the first event so long after the stream's first; 0: at the logs' end */
    double speed;           /* event time over wall time; 0: as fast as the machine goes */
    const char *report_path, *dump_path, *slates_path; /* NULL: none; "-" is stdout */
    const char *html_path;                             /* the report as a page; as above */
    bool dead_letters_in;                              /* paths are dead-letter files: their messages are tried again */
    bool quiet;                                        /* no progress */
    bool standby; /* run: waits while another learner has the lease or the folder */
    bool fresh;   /* run: begins with nothing although Redis holds a version of the model */
    /* SIGHUP: the configuration read again from where it came; *out is the caller's to free.  NULL: not to be had. */
    enum status (*read_again)(void *user, struct conf **out, struct err *e);
    void *read_again_user;
};
/* Runs to the end of the logs or until job_stop.  Writes report and dump, publishes what is configured.  c's live keys
 * change in place with job_reload.  OK also when it was told to stop before it was ready; but END where that was a fit, which
 * writes no checkpoint before its end.  CONFLICT: another learner has
 * the lease or the folder, or took them.  FULL: told to stop while the disk is full. */
enum status job_run(struct conf *c, const struct job_options *o, struct err *e) MUST_CHECK;
/* Async-signal-safe: asks the running job to finish. */
void job_stop(void);
/* Async-signal-safe: asks the running job to read its configuration again. */
void job_reload(void);
#endif
