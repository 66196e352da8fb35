/* cmd_model_warm.c - `freshet model warm`: the frozen states of a catalogue, computed once and kept on disk.
 *
 * Sentences are rendered and cut by the code of learner and scorer (featurize), states computed by their cache (model), so
 * what is read later is what would have been computed, bit by bit.
 */
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd_signals.h"
#include "cli/model.h"
#include "cli/options.h"
#include "cli/warm.h"
#include "job/checkpoint_meta.h"
#include "model/model.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char command[] = "model warm";
enum { SHOW_US = 500000, LINE_US = 10000000, BAR = 24, SLOT_BYTES = 512 };
volatile sig_atomic_t cmd_warm_stopping;

static void stop(void)
{
    cmd_warm_stopping = 1;
}

static int64_t now_us(void)
{
    return clock_system()->mono_us(clock_system());
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

void cmd_warm_show(struct cmd_warm *w)
{
    char bar[BAR + 1];
    const int64_t now = now_us();
    if (w->quiet || now < w->shown_us + (w->terminal ? SHOW_US : LINE_US)) return;
    const double seconds = (double)(now - w->started_us) * 1e-6, rate = (double)w->computed / (seconds + 1e-9);
    if (w->terminal) {
        const int full = w->done_frac < 0 ? 0 : (int)(w->done_frac * BAR);
        for (int i = 0; i < BAR; i++) bar[i] = i < full ? '#' : '.';
        bar[BAR] = '\0';
        (void)fprintf(stderr, "\r\033[K[%s]  %" PRIu64 " new, %" PRIu64 " kept, %.0f sentences/s", bar, w->computed,
                      w->kept, rate);
    } else {
        log_info("warm", "new=%" PRIu64 " kept=%" PRIu64 " seconds=%.1f per_second=%.1f", w->computed, w->kept, seconds,
                 rate);
    }
    w->shown = true;
    w->shown_us = now;
}

/* --- sentences ---------------------------------------------------------------------------------------------------- */

enum status cmd_warm_flush(struct cmd_warm *w, struct err *e)
{
    enum status st = STATUS_OK;
    if (w->n_batch == 0) return STATUS_OK;
    TRY(state_acquire(w->states, w->batch, w->n_batch, w->entries, e));
    for (size_t i = 0; i < w->n_batch && st == STATUS_OK; i++) {
        const struct record_state r = state_record(w->entries[i]);
        if (state_file_added(w->out, w->batch[i].hash)) continue; /* twice in this batch */
        st = state_file_add(w->out, w->batch[i].hash, &r, e);
        w->computed += st == STATUS_OK;
    }
    state_release(w->states, w->entries, w->n_batch);
    w->n_batch = w->n_ids = 0;
    cmd_warm_show(w);
    return st;
}

/* Takes over what the file before has; NOT_FOUND: to be computed. */
static enum status keep(struct cmd_warm *w, uint64_t hash, uint32_t n_tokens, struct err *e)
{
    struct err why;
    const size_t C = encoder_shape(w->encoder)->C;
    if (w->before == NULL) return STATUS_NOT_FOUND;
    const enum status st = state_file_read(w->before, hash, n_tokens, w->numbers, &why);
    w->damaged += st != STATUS_OK && st != STATUS_NOT_FOUND;
    if (st != STATUS_OK) return STATUS_NOT_FOUND;
    const struct record_state r = {.n_tokens = n_tokens,
                                   .width = (uint32_t)C,
                                   .pooled = w->numbers,
                                   .final = w->numbers + C,
                                   .tokens = w->numbers + 2 * C};
    w->kept++;
    return state_file_add(w->out, hash, &r, e);
}

static enum status check_ids(const struct cmd_warm *w, const int32_t *ids, uint32_t n, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(w->encoder);
    const size_t most = s->P < CMD_WARM_TOKENS ? s->P : CMD_WARM_TOKENS;
    bool good = n <= most;
    for (uint32_t i = 0; i < n && good; i++) good = ids[i] >= 0 && (size_t)ids[i] < s->V;
    if (good) return STATUS_OK;
    return ERR_SET(
        e, STATUS_INVALID,
        "a sentence of %u tokens is not of %s (%zu tokens at most, %zu word pieces): set model.base to the model "
        "that it was made for",
        n, w->conf->model_base, most, s->V);
}

enum status cmd_warm_sentence(struct cmd_warm *w, uint64_t hash, const int32_t *ids, uint32_t n, struct err *e)
{
    if (n == 0 || state_file_added(w->out, hash)) return STATUS_OK;
    TRY(check_ids(w, ids, n, e));
    const enum status st = keep(w, hash, model_wants_tokens(w->model) ? n : 0, e);
    if (st != STATUS_NOT_FOUND) return st;
    if (w->n_batch == CMD_WARM_BATCH || w->n_ids + n > CMD_WARM_TOKENS) TRY(cmd_warm_flush(w, e));
    int32_t *copy = w->ids + w->n_ids;
    memcpy(copy, ids, n * sizeof *copy);
    w->batch[w->n_batch++] = (struct state_request){hash, copy, n};
    w->n_ids += n;
    return STATUS_OK;
}

enum status cmd_warm_item(struct cmd_warm *w, const struct record_item *i, struct err *e)
{
    if (i->deleted) return STATUS_OK;
    w->items++;
    return cmd_warm_sentence(w, i->sentence, i->ids, i->n_ids, e);
}

enum status cmd_warm_user(struct cmd_warm *w, const struct record_user *u, struct err *e)
{
    for (uint32_t i = 0; i < u->n_events && i < (uint32_t)w->conf->model_events; i++)
        TRY(cmd_warm_sentence(w, u->events[i].sentence, u->events[i].ids, u->events[i].n_ids, e));
    return STATUS_OK;
}

/* What the file before has and no source told of. */
static enum status keep_rest(struct cmd_warm *w, struct err *e)
{
    for (size_t i = 0; w->before != NULL && i < state_file_count(w->before); i++) {
        const uint64_t hash = state_file_hash(w->before, i);
        const uint32_t n = state_file_tokens(w->before, hash);
        if (state_file_added(w->out, hash) || n > encoder_shape(w->encoder)->P) continue;
        const enum status st = keep(w, hash, n, e);
        if (st != STATUS_NOT_FOUND) TRY(st);
    }
    return STATUS_OK;
}

static uint64_t left_out(const struct cmd_warm *w)
{
    uint64_t n = 0;
    for (size_t i = 0; w->before != NULL && i < state_file_count(w->before); i++)
        n += !state_file_added(w->out, state_file_hash(w->before, i));
    return n;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

struct args {
    const char *state;
    bool redis, add, quiet;
};

/* Room for a batch at once and little more: nothing is asked for twice. */
static size_t cache_bytes(const struct cmd_warm *w)
{
    const struct encoder_shape *s = encoder_shape(w->encoder);
    const size_t entry = 2 * s->C * sizeof(uint16_t) + SLOT_BYTES;
    const size_t tokens = model_wants_tokens(w->model) ? CMD_WARM_TOKENS + 64 * s->max_tokens : 0;
    return 2 * (CMD_WARM_BATCH * entry + tokens * s->C * sizeof(uint16_t));
}

static enum status open_model(struct cmd_warm *w, struct err *e)
{
    const struct conf *c = w->conf;
    char backend[KERN_NAME_MAX];
    kern_name(c, backend);
    TRY(token_open(&w->vocab, c->model_base, e));
    TRY(describe_open(&w->templates, c, e));
    TRY(feat_new(&w->feat, c, w->vocab, w->templates, e));
    TRY(encoder_open_conf(&w->encoder, &w->kern, c, e));
    TRY(model_new(&w->model, c, w->encoder, feat_count(w->feat), e));
    if (!model_wants_states(w->model))
        return ERR_SET(e, STATUS_INVALID, "model.parts=%s reads no sentences (text and match do): nothing to make",
                       c->model_parts);
    return state_cache_new(&w->states, w->encoder, model_frozen_layers(w->model), model_wants_tokens(w->model),
                           cache_bytes(w), (unsigned)c->kernels_threads, backend, e);
}

static enum status open_rooms(struct cmd_warm *w, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(w->encoder);
    w->batch = mem_calloc(CMD_WARM_BATCH, sizeof *w->batch);
    w->entries = mem_calloc(CMD_WARM_BATCH, sizeof(void *));
    w->ids = mem_calloc(CMD_WARM_TOKENS, sizeof *w->ids);
    w->numbers = mem_calloc(2 + s->P, s->C * sizeof *w->numbers);
    if (w->batch == NULL || w->entries == NULL || w->ids == NULL || w->numbers == NULL)
        return ERR_SET(e, STATUS_OOM, "no memory for a batch of %d sentences", CMD_WARM_BATCH);
    return STATUS_OK;
}

/* The file before, if it is one that can be taken over, and the new one. */
static enum status open_files(struct cmd_warm *w, char path[CMD_MODEL_PATH], struct err *e)
{
    char name[STATE_FILE_NAME_MAX];
    uint64_t probe;
    struct err why = {0};
    const struct state_file_kind kind = state_file_kind(w->states);
    state_file_name(name, &kind);
    if (snprintf(path, CMD_MODEL_PATH, "%s/%s", w->conf->kernels_states_dir, name) >= CMD_MODEL_PATH)
        return ERR_SET(e, STATUS_INVALID, "the folder's path is longer than %d bytes", CMD_MODEL_PATH);
    TRY(state_file_probe(w->states, &probe, e));
    const enum status st = state_file_open(&w->before, path, &kind, SIZE_MAX, &why);
    if (st == STATUS_OOM) return ERR_SET(e, st, "%s", why.text);
    if (st != STATUS_OK && st != STATUS_NOT_FOUND) log_warn("warm", "anew=\"%s\"", why.text);
    if (st == STATUS_OK && state_file_probed(w->before) != probe) {
        log_warn("warm", "anew=\"%s was made by another instruction set or version\"", path);
        state_file_close(w->before);
        w->before = NULL;
    }
    return state_file_create(&w->out, w->conf->kernels_states_dir, &kind, probe, e);
}

static enum status from_state(struct cmd_warm *w, const struct checkpoint_meta *m, struct err *e)
{
    char base[40];
    const int n = snprintf(base, sizeof base, "base+parts=%016" PRIx64 "\n", model_fingerprint(w->model));
    if (m->meaning.n < (size_t)n || memcmp(m->meaning.p + m->meaning.n - n, base, (size_t)n) != 0)
        return ERR_SET(e, STATUS_CONFLICT, "the state folder was learnt on another base model than %s (model.base)",
                       w->conf->model_base);
    return cmd_warm_state(w, m, e);
}

static enum status take_sources(struct cmd_warm *w, const struct cmd_line *l, const struct args *a,
                                const struct checkpoint_meta *m, struct err *e)
{
    if (a->state != NULL) TRY(from_state(w, m, e));
    if (l->n_args > 0) TRY(cmd_warm_logs(w, l->args, l->n_args, e));
    if (a->redis) TRY(cmd_warm_redis(w, e));
    if (w->items == 0 && !a->add)
        return ERR_SET(e, STATUS_NOT_FOUND, "no item is in what was given: a file that is there stays as it is");
    return cmd_warm_flush(w, e);
}

static void summarise(const struct cmd_warm *w, const char *path, uint64_t bytes, uint64_t dropped)
{
    const double seconds = (double)(now_us() - w->started_us) * 1e-6;
    if (w->terminal && w->shown) (void)fputc('\n', stderr);
    log_info("warm",
             "file=%s items=%" PRIu64 " sentences=%" PRIu64 " new=%" PRIu64 " kept=%" PRIu64 " dropped=%" PRIu64
             " damaged=%" PRIu64 " bytes=%" PRIu64 " seconds=%.3f per_second=%.1f",
             path, w->items, w->computed + w->kept, w->computed, w->kept, dropped, w->damaged, bytes, seconds,
             seconds > 0 ? (double)w->computed / seconds : 0.0);
}

/* Told to stop: what was computed is kept beside all that was there, so that the next run goes on from here. */
static enum status warm(struct cmd_warm *w, const struct cmd_line *l, const struct args *a,
                        const struct checkpoint_meta *m, struct err *e)
{
    char path[CMD_MODEL_PATH];
    uint64_t bytes;
    TRY(open_model(w, e));
    TRY(open_rooms(w, e));
    TRY(open_files(w, path, e));
    const enum status st = take_sources(w, l, a, m, e);
    if (st != STATUS_OK && !(st == STATUS_END && cmd_warm_stopping)) return st;
    if (st == STATUS_END) TRY(cmd_warm_flush(w, e));
    if (a->add || st == STATUS_END) TRY(keep_rest(w, e));
    const uint64_t dropped = left_out(w);
    TRY(state_file_commit(w->out, &bytes, e));
    summarise(w, path, bytes, dropped);
    if (st == STATUS_OK) return STATUS_OK;
    return ERR_SET(e, st,
                   "stopped by a signal; %" PRIu64 " new sentences are kept, the same command goes on from there",
                   w->computed);
}

static void close_all(struct cmd_warm *w)
{
    state_file_writer_free(w->out);
    state_file_close(w->before);
    mem_free(w->numbers);
    mem_free(w->ids);
    mem_free((void *)w->entries);
    mem_free(w->batch);
    state_cache_free(w->states);
    model_free(w->model);
    encoder_free(w->encoder);
    kern_free(w->kern);
    feat_free(w->feat);
    describe_close(w->templates);
    token_free(w->vocab);
}

/* With a state folder, what its sentences follow from is its own. */
static int run(struct cmd_line *l, const struct args *a)
{
    struct err e = {0};
    struct checkpoint_meta m = {0};
    enum status st = STATUS_OK;
    struct cmd_warm w = {.conf = l->conf,
                         .started_us = now_us(),
                         .shown_us = now_us(),
                         .done_frac = -1.0,
                         .quiet = a->quiet,
                         .terminal = isatty(STDERR_FILENO) == 1};
    cmd_stop_on_signals(stop);
    if (a->state != NULL) st = checkpoint_meta_open(&m, a->state, &e);
    if (st == STATUS_NOT_FOUND) (void)ERR_SET(&e, st, "%s is no state folder", a->state);
    if (st == STATUS_OK && a->state != NULL) st = cmd_model_take_meaning(l->conf, &m, &e);
    if (st == STATUS_OK) st = warm(&w, l, a, &m, &e);
    close_all(&w);
    checkpoint_meta_close(&m);
    return st == STATUS_OK ? 0 : cmd_failed(command, &e);
}

static int usage_error(const char *text)
{
    (void)fprintf(stderr, "freshet %s: %s (freshet %s --help)\n", command, text, command);
    return 2;
}

int cmd_model_warm(int argc, char **argv)
{
    static const char *const keys[] = {"model.",     "describe.", "kernels.",   "ingest.schema",
                                       "ingest.map", "redis.",    "catalogue.", NULL};
    struct args a = {0};
    struct cmd_line line;
    const struct cmd_option options[] = {
        {"out", "DIR", CMD_KEY, NULL, "kernels.states_dir", "folder of the file, where scorer and learner look"},
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the logs: native, metarank or csv"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map of csv"},
        {"state", "DIR", CMD_TEXT, &a.state, NULL, "catalogue and histories of this state folder; it may be in use"},
        {"redis", NULL, CMD_FLAG, &a.redis, NULL,
         "catalogue and histories of the model in Redis (redis.url, model.name)"},
        {"add", NULL, CMD_FLAG, &a.add, NULL, "keep what is in the file and in none of the sources"},
        {"quiet", NULL, CMD_FLAG, &a.quiet, NULL, "no progress"},
    };
    const struct cmd_usage usage = {
        .command = command,
        .arguments = "[LOG...]",
        .about =
            "Computes the frozen states of a catalogue's sentences, what users did with the items included, and keeps "
            "them in\n"
            "one file DIR/<key>.states: a scorer or learner that starts with kernels.states_dir=DIR reads them "
            "where it would\n"
            "have to compute.  The key is a hash of base model, layer and precision, so a folder may serve "
            "several models.  A file\n"
            "that is there is brought up to date: what it has is kept, what no source tells of any more is "
            "dropped.  model.*\n"
            "and describe.* keys must be the scorer's; with --state they are taken from the folder.\n",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .keys = keys,
        .most = -1,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON && line.n_args == 0 && a.state == NULL && !a.redis)
        rc = usage_error("no catalogue is named: give LOG..., --state DIR or --redis");
    if (rc == CMD_GO_ON && line.conf->kernels_states_dir[0] == '\0')
        rc = usage_error("set where the file goes with --out DIR (kernels.states_dir)");
    if (rc == CMD_GO_ON) rc = run(&line, &a);
    cmd_line_fini(&line);
    return rc;
}
