/* job_open.c - building what the loop needs, in the order of who borrows from whom, and taking it down again. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/dump.h"
#include "job/job_private.h"
#include "schemas/conf_variant.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOSE_US 1000000

static enum status open_dir(struct job *j, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    if (j->conf->state_dir[0] != '\0' && !job_ranks_other(j)) {
        (void)snprintf(j->state_dir, sizeof j->state_dir, "%s", j->conf->state_dir);
        return STATUS_OK;
    }
    if (!j->options->replay)
        return ERR_SET(e, STATUS_INVALID,
                       "a stream job needs a state folder: set state.dir (for example -o state.dir=state)");
    (void)snprintf(j->state_dir, sizeof j->state_dir, "%s/freshet-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(j->state_dir) == NULL)
        return ERR_SET(e, STATUS_IO, "temporary state folder %s: %s (set TMPDIR or state.dir)", j->state_dir,
                       strerror(errno));
    j->temporary = true;
    return STATUS_OK;
}

/* Of any variant. */
static bool wants_encoder(const struct conf *c)
{
    struct conf *world = NULL;
    if (conf_world_new(&world, c, NULL) != STATUS_OK) return true;
    const bool wants = conf_reads_text(world);
    conf_free(world);
    return wants;
}

static enum status open_language(struct job *j, struct err *e)
{
    const struct conf *c = j->conf;
    TRY(token_open(&j->vocab, c->model_base, e));
    TRY(describe_open(&j->templates, c, e));
    if (!wants_encoder(c)) return STATUS_OK;
    TRY(encoder_open_conf(&j->encoder, &j->kern, c, e));
    const size_t ids = token_vocab_size(j->vocab), rows = encoder_shape(j->encoder)->V;
    if (ids <= rows) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "%s: the tokenizer has %zu ids, the model's table %zu rows; take both from one folder",
                   c->model_base, ids, rows);
}

static enum status open_learner(struct job *j, struct err *e)
{
    const struct learner_parts_in in = {.conf = j->conf,
                                        .vocab = j->vocab,
                                        .templates = j->templates,
                                        .encoder = j->encoder,
                                        .store = checkpoint_store(j->checkpoint)};
    const struct learner_options o = {.learn = j->options->learn && j->options->fit == NULL,
                                      .kafka = !j->options->replay,
                                      .letters = j->options->dead_letters_in,
                                      .warmup = j->options->warmup};
    TRY(learner_new(&j->learner, &in, o, e));
    TRY(checkpoint_restore(j->checkpoint, j->learner, e));
    j->events_before = j->checkpoint_events = learner_counts(j->learner)->events;
    j->checkpoint_slates = learner_counts(j->learner)->slates;
    j->checkpoint_learnt = learner_learnt(j->learner)->learnt_slates;
    j->examples_before = learner_counts(j->learner)->examples;
    if (checkpoint_version(j->checkpoint) > 0 && !j->options->quiet)
        log_info("resume", "state=%s version=%llu events=%llu sha256=%s", j->state_dir,
                 (unsigned long long)checkpoint_version(j->checkpoint), (unsigned long long)j->events_before,
                 checkpoint_sha256(j->checkpoint));
    return STATUS_OK;
}

/* Those of o->paths that are to be read, and what is to be skipped of each. */
static void choose_logs(struct job *j, const bool *use, uint64_t *skip, const char **paths)
{
    const struct job_options *o = j->options;
    uint64_t skipped = 0;
    for (size_t i = 0; i < o->n_paths; i++) {
        if (!use[i]) {
            log_info("replay", "file=%s skipped=\"learnt before into %s\"", o->paths[i], j->state_dir);
            continue;
        }
        skipped += skip[i];
        skip[j->n_logs] = skip[i];
        paths[j->n_logs++] = o->paths[i];
    }
    j->base = learner_file_next(j->learner) - skipped;
    if (skipped > 0) log_info("replay", "resumed_after=%llu records", (unsigned long long)skipped);
}

static enum status open_logs(struct job *j, struct err *e)
{
    const struct job_options *o = j->options;
    enum status st;
    bool *use = mem_calloc(o->n_paths, sizeof *use);
    uint64_t *skip = mem_calloc(o->n_paths, sizeof *skip);
    const char **paths = mem_calloc(o->n_paths, sizeof *paths);
    if (use == NULL || skip == NULL || paths == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%zu log files", o->n_paths);
        goto out;
    }
    const uint64_t next = learner_file_next(j->learner);
    if (o->dead_letters_in) /* letters are known by their places: the whole files are read each time */
        TRY_OUT(st, checkpoint_logs_again(j->checkpoint, o->paths, o->n_paths, use, skip, next, e));
    else
        TRY_OUT(st, checkpoint_logs(j->checkpoint, o->paths, o->n_paths, use, skip, next, e));
    choose_logs(j, use, skip, paths);
    /* Without a folder there is no next time; alike on all ranks. */
    const uint64_t *kept = j->conf->state_dir[0] != '\0' ? skip : NULL;
    st = o->dead_letters_in ? source_open_dead_letters(&j->source, j->conf, paths, j->n_logs, kept, e)
                            : source_open_files(&j->source, j->conf, paths, j->n_logs, kept, e);
out:
    mem_free(use);
    mem_free(skip);
    mem_free((void *)paths);
    return st;
}

/* Files: event time waits for the one partition.  Kafka: where each would begin is known from now on; event time waits for
 * those that turn out to be ours. */
static enum status expect_partitions(struct job *j, struct err *e)
{
    const size_t n = source_partitions(j->source, NULL, 0);
    struct source_offset *parts = mem_calloc(n, sizeof *parts);
    enum status st = STATUS_OK;
    if (parts == NULL) return ERR_SET(e, STATUS_OOM, "%zu partitions", n);
    (void)source_partitions(j->source, parts, n);
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        const struct event_position at = {parts[i].topic, parts[i].partition, parts[i].next};
        st = learner_expect(j->learner, at, e);
    }
    mem_free(parts);
    return st;
}

static enum status open_source(struct job *j, struct err *e)
{
    size_t n;
    if (j->options->replay) return open_logs(j, e);
    const struct source_offset *offsets = learner_offsets(j->learner, &n);
    TRY(source_open_kafka(&j->source, j->conf, j->clock, offsets, n, e));
    return expect_partitions(j, e);
}

static enum status write_refused(void *user, const struct source_record *rec, const char *stage, struct err *e)
{
    struct job *j = user;
    const enum status st = reject_sink_write(j->sink, rec, stage, e);
    if (st != STATUS_FULL) return st;
    j->letters_full = true; /* the letter itself is kept; the record is to be finished before learning pauses */
    return STATUS_OK;
}

static enum status write_seen(void *user, const struct learner_seen *seen, struct err *e)
{
    struct job *j = user;
    if (j->dump != NULL) TRY(dump_seen(j->dump, seen, e));
    return j->dump_slates != NULL ? dump_slate(j->dump_slates, seen, e) : STATUS_OK;
}

static enum status open_dumps(struct job *j, struct err *e)
{
    const struct model *m = learner_model(j->learner);
    const struct feat *f = learner_feat(j->learner);
    if (j->options->dump_path != NULL) TRY(dump_open(&j->dump, j->options->dump_path, m, f, j->vocab, e));
    if (j->options->slates_path != NULL) TRY(dump_open(&j->dump_slates, j->options->slates_path, m, f, j->vocab, e));
    if (j->dump != NULL || j->dump_slates != NULL) learner_on_seen(j->learner, write_seen, j);
    return STATUS_OK;
}

static enum status keep_slate(void *user, const struct slate *s, struct err *e)
{
    return fit_take(user, s, e);
}

/* The slates are kept, and learnt when all are there. */
static enum status open_fit(struct job *j, struct err *e)
{
    if (checkpoint_version(j->checkpoint) > 0)
        return ERR_SET(e, STATUS_CONFLICT, "state folder %s holds a model already; fit begins one: use a new state.dir",
                       j->state_dir);
    TRY(fit_new(&j->fit, j->state_dir, e));
    learner_on_settled(j->learner, keep_slate, j->fit);
    return STATUS_OK;
}

static enum status stop_asked(void)
{
    return atomic_load(&job_stopping) ? STATUS_END : STATUS_OK;
}

enum status job_open(struct job *j, struct err *e)
{
    TRY(job_ranks_begin(j, e));
    TRY(job_check_report(j, e));
    TRY(open_dir(j, e));
    TRY(job_lease_ask(j, e)); /* answered while the model is read */
    TRY(open_language(j, e));
    TRY(job_ranks_meet(j, false, e));
    TRY(job_lease_take(j, e));
    TRY(job_ranks_meet(j, true, e));
    TRY(open_learner(j, e));
    TRY(job_warm(j, e));
    TRY(job_variants_open(j, e));
    TRY(job_ranks_join(j, e));
    job_publish_start(j);
    TRY(stop_asked());
    TRY(open_source(j, e));
    TRY(stop_asked());
    const struct reject_sink_start letters = {.mark = checkpoint_dead_letters(j->checkpoint),
                                              .keep = !j->temporary,
                                              .new_file = j->waited}; /* the owner before us may still have it open */
    TRY(reject_sink_open_at(&j->sink, j->conf, letters, e));
    learner_on_refused(j->learner, write_refused, j);
    job_watch_going(j);
    if (j->options->fit != NULL) TRY(open_fit(j, e));
    TRY(job_served_open(j, e));
    TRY(open_dumps(j, e));
    return job_lease_check(j, e);
}

/* A source that is left behind, when its library does not let go: the process is about to end. */
struct closing {
    struct source *source;
    atomic_bool done;
};

static void *close_main(void *arg)
{
    struct closing *c = arg;
    source_close(c->source);
    atomic_store(&c->done, true);
    return NULL;
}

/* Leaving the group asks brokers that may be away, and librdkafka asks for 45 s. */
static void close_source(struct job *j)
{
    static struct closing closing;
    pthread_t thread;
    closing = (struct closing){.source = j->source};
    if (j->source == NULL) return;
    if (j->options->replay || pthread_create(&thread, NULL, close_main, &closing) != 0) {
        source_close(j->source);
        return;
    }
    const int64_t until_us = job_now_us(j) + CLOSE_US;
    while (!atomic_load(&closing.done) && job_now_us(j) < until_us)
        (void)nanosleep(&(struct timespec){0, 2000000}, NULL);
    if (atomic_load(&closing.done)) {
        (void)pthread_join(thread, NULL);
    } else {
        log_warn("kafka", "close=\"the brokers are away: the group finds out by itself\"");
        (void)pthread_detach(thread);
    }
}

void job_close(struct job *j)
{
    job_poll_stop(j);
    served_close(j->served);
    dump_close(j->dump);
    dump_close(j->dump_slates);
    fit_free(j->fit);
    reject_sink_close(j->sink);
    job_publish_ending(j);
    close_source(j);
    learner_free(j->learner);
    checkpoint_close(j->checkpoint);
    job_variants_close(j);
    publish_close(j->publish); /* the lease after the folder: who gets it may open that at once */
    encoder_free(j->encoder);
    kern_free(j->kern);
    describe_close(j->templates);
    token_free(j->vocab);
    if (j->temporary) file_remove(AT_FDCWD, j->state_dir);
}
