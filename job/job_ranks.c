/* job_ranks.c - a replay by several processes that learn as one (train.ranks): who does what, and where they meet.
 *
 * Every rank reads the same logs and holds the whole world and model; of each batch it learns its share (job/line_ranks.h).  Rank 0
 * alone has a state folder of its own, dead letters, Redis and the report.  The others begin with a copy of what lies in
 * state.dir, taken while rank 0 has it open and waits for them, and work in a temporary folder that goes at the end.
 */
#include "base/file.h"
#include "base/log.h"
#include "job/job_private.h"
#include "job/line_ranks.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

atomic_bool job_together, job_stop_asked;

bool job_ranks_other(const struct job *j)
{
    return j->conf->train_ranks > 1 && j->conf->train_rank > 0;
}

static enum status check(const struct job *j, struct err *e)
{
    const struct job_options *o = j->options;
    const long long n = (long long)j->conf->train_ranks;
    if (!o->replay)
        return ERR_SET(e, STATUS_INVALID,
                       "train.ranks = %lld: `run` learns alone so far; several processes can `replay`", n);
    if (o->fit != NULL || !o->learn)
        return ERR_SET(e, STATUS_INVALID,
                       "train.ranks = %lld: only a replay that learns is shared; set train.ranks = 1", n);
    if (j->conf->train_batch_slates < j->conf->train_ranks)
        log_warn("ranks",
                 "batch_slates=%lld ranks=%lld reason=\"ranks without a slate of a batch have nothing to do\" "
                 "next=\"raise train.batch_slates to a multiple of train.ranks\"",
                 (long long)j->conf->train_batch_slates, n);
    return STATUS_OK;
}

enum status job_ranks_begin(struct job *j, struct err *e)
{
    if (j->conf->train_ranks == 1) return STATUS_OK;
    TRY(check(j, e));
    if (!job_ranks_other(j)) return STATUS_OK;
    j->ranks_options = *j->options;
    j->ranks_options.report_path = j->ranks_options.html_path = NULL;
    j->ranks_options.dump_path = j->ranks_options.slates_path = NULL;
    j->ranks_options.publish_every = 0;
    j->ranks_options.quiet = true;
    j->options = &j->ranks_options;
    j->conf->redis_url[0] = j->conf->ingest_dead_letters[0] = 0;
    return STATUS_OK;
}

/* --- the folder of those that have none ---------------------------------------------------------------------------- */

static enum status copy_weights(int from, int to, struct err *e)
{
    enum status st = STATUS_OK;
    DIR *d = file_list(from);
    if (d == NULL) return file_failed(e, "weights", "be read", errno);
    for (const char *name; st == STATUS_OK && (name = file_next(d)) != NULL;)
        if (name[0] != '.') st = file_copy_whole(from, name, to, name, e);
    file_list_end(d);
    return st;
}

/* Nothing is written there meanwhile: rank 0 has it open, and waits. */
static enum status copy_state(int from, int from_weights, const char *to, struct err *e)
{
    int dir = -1, weights = -1;
    enum status st = file_open_dir(&dir, AT_FDCWD, to, false, e);
    if (st == STATUS_OK) st = file_open_dir(&weights, dir, "weights", true, e);
    if (st == STATUS_OK) st = file_copy_whole(from, "state.mdb", dir, "state.mdb", e);
    if (st == STATUS_OK) st = copy_weights(from_weights, weights, e);
    if (weights >= 0) (void)close(weights);
    if (dir >= 0) (void)close(dir);
    return st;
}

/* A folder without a checkpoint, or none that is seen from here, leaves nothing to copy; whether that is what rank 0 began with
 * is asked before the first step. */
static enum status take_state(struct job *j, struct err *e)
{
    int from = -1, weights = -1;
    enum status st = STATUS_OK;
    if (j->conf->state_dir[0] == 0) return STATUS_OK;
    from = open(j->conf->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from >= 0) weights = openat(from, "weights", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (weights >= 0 && faccessat(weights, "newest", R_OK, 0) == 0) st = copy_state(from, weights, j->state_dir, e);
    if (weights >= 0) (void)close(weights);
    if (from >= 0) (void)close(from);
    return st == STATUS_OK || e == NULL
               ? st
               : err_prefix(e, "rank %d copies %s", (int)j->conf->train_rank, j->conf->state_dir);
}

/* --- meeting, and parting ------------------------------------------------------------------------------------------ */

static enum status meet(struct job *j, struct err *e)
{
    struct buf common = {0};
    conf_common(j->conf, &common);
    enum status st = buf_status(&common, e);
    const struct ranks_setup s = {.n = (int)j->conf->train_ranks,
                                  .rank = (int)j->conf->train_rank,
                                  .address = j->conf->train_ranks_address,
                                  .timeout_ms = j->conf->train_ranks_timeout_ms,
                                  .common = {(const char *)common.p, common.n}};
    if (st == STATUS_OK) st = ranks_open(&j->ranks, &s, e);
    buf_fini(&common);
    return st;
}

enum status job_ranks_meet(struct job *j, bool folder_is_open, struct err *e)
{
    if (j->conf->train_ranks == 1 || job_ranks_other(j) == folder_is_open) return STATUS_OK;
    TRY(meet(j, e));
    if (job_ranks_other(j)) return take_state(j, e);
    return STATUS_OK;
}

/* Of all lines, as their next step finds them. */
static void put_lines(struct buf *b, struct job *j)
{
    struct variants *v = learner_variants(j->learner);
    for (size_t i = 0; i <= variants_count(v); i++) {
        const struct line *l = variants_line(v, i);
        buf_printf(b, " steps=%" PRIu64 " waiting=%u weights=%016" PRIx64, l->counts.steps, l->n_pending,
                   param_hash(l->params));
    }
}

static enum status agree(struct job *j, const char *what, struct buf *text, struct err *e)
{
    put_lines(text, j);
    enum status st = buf_status(text, e);
    if (st == STATUS_OK) st = ranks_agree(j->ranks, what, (struct str){(const char *)text->p, text->n}, e);
    buf_fini(text);
    return st;
}

/* Of backend cuda not how much memory it has. */
static void put_kernels(struct buf *b, struct kern *k)
{
    const char *about = kern_describe(k);
    buf_printf(b, " kernels=%.*s", (int)(k->ops->host_visible ? strlen(about) : strcspn(about, ",")), about);
}

enum status job_ranks_join(struct job *j, struct err *e)
{
    struct variants *v = learner_variants(j->learner);
    const struct line_stop stop = {&job_stop_asked, &job_stopping};
    struct buf text = {0};
    if (j->ranks == NULL) return STATUS_OK;
    buf_printf(&text, "version=%" PRIu64 " next=%" PRIu64 " model=%016" PRIx64, checkpoint_version(j->checkpoint),
               learner_file_next(j->learner), model_fingerprint(learner_model(j->learner)));
    put_kernels(&text, model_run_kern(learner_line(j->learner)->run));
    TRY(agree(j, "state", &text, e));
    for (size_t i = 0; i <= variants_count(v); i++) TRY(line_join(variants_line(v, i), j->ranks, stop, e));
    atomic_store(&job_together, true);
    log_info("ranks", "rank=%d of=%d address=%s sums=%s", ranks_rank(j->ranks), ranks_count(j->ranks),
             j->conf->train_ranks_address, line_ranks_by(learner_line(j->learner)->ranks));
    return STATUS_OK;
}

enum status job_ranks_agree(struct job *j, struct err *e)
{
    struct buf text = {0};
    if (j->ranks == NULL) return STATUS_OK;
    buf_printf(&text, "next=%" PRIu64, learner_file_next(j->learner));
    TRY(agree(j, "end", &text, e));
    if (!job_ranks_other(j)) return STATUS_OK;
    struct param_set *p = learner_params(j->learner);
    TRY(param_sha256(p, e));
    log_info("ranks", "rank=%d steps=%" PRIu64 " sha256=%s", ranks_rank(j->ranks), learner_learnt(j->learner)->steps,
             p->sha256);
    return STATUS_OK;
}

void job_ranks_part(struct job *j, enum status st, const struct err *e)
{
    const char *why = st == STATUS_OK    ? NULL
                      : st == STATUS_END ? "it was told to stop before the first batch"
                                         : e->text;
    atomic_store(&job_together, false);
    atomic_store(&job_stop_asked, false);
    ranks_close(j->ranks, why);
    j->ranks = NULL;
}
