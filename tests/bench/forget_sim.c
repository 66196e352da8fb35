/* forget_sim.c - one learner over a log, and what it loses on each list: figures for tests/quality/forget.py.
 *
 *   forget_sim LOG OUT section.key=value…
 *
 * The log goes through the learner as a replay takes it, without a state folder.  OUT gets a record a list in order, as it was
 * scored before anything was learnt from it: seconds since the first list (u32), hash of the user (u32), mean log-loss (f32),
 * AUC (f32; NaN without both labels).  Stdout: one JSON line, what was learnt and at what cost.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "featurize/describe.h"
#include "featurize/token.h"
#include "ingest/source.h"
#include "job/learner.h"
#include "model/encoder.h"
#include "trainer/eval.h"
#include "trainer/gate.h"
#include "trainer/monitor.h"
#include <stdio.h>
#include <stdlib.h>

struct sim {
    struct conf *conf;
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    struct source *source;
    struct source_batch *batch;
    struct learner *learner;
    FILE *out;
    float labels[EVENT_ITEMS_MAX];
};
struct list {
    uint32_t seconds, user;
    float loss, auc;
};

static enum status seen(void *user, const struct learner_seen *x, struct err *e)
{
    struct sim *s = user;
    const struct slate *of = x->slate;
    if (of->n_items == 0) return STATUS_OK;
    for (uint32_t i = 0; i < of->n_items; i++) s->labels[i] = of->items[i].label;
    const struct list l = {(uint32_t)((of->time_ms - learner_first_ms(s->learner)) / 1000),
                           (uint32_t)hash_str(of->user), (float)gate_loss(x->logits, s->labels, of->n_items),
                           (float)eval_auc(x->logits, s->labels, NULL, of->n_items)};
    return fwrite(&l, sizeof l, 1, s->out) == 1 ? STATUS_OK : ERR_SET(e, STATUS_IO, "forget_sim: can't write");
}

static enum status open_all(struct sim *s, const char *log, char **options, int n, struct err *e)
{
    TRY(conf_new(&s->conf, e));
    for (int i = 0; i < n; i++) TRY(conf_set_option(s->conf, options[i], e));
    TRY(conf_check(s->conf, e));
    TRY(token_open(&s->vocab, s->conf->model_base, e));
    TRY(describe_open(&s->templates, s->conf, e));
    TRY(kern_new(&s->kern, "cpu", e));
    TRY(encoder_open(&s->encoder, s->kern, s->conf->model_base, e));
    TRY(source_batch_new(&s->batch, e));
    TRY(source_open_files(&s->source, s->conf, &log, 1, NULL, e));
    const struct learner_parts_in in = {
        .conf = s->conf, .vocab = s->vocab, .templates = s->templates, .encoder = s->encoder};
    TRY(learner_new(&s->learner, &in, (struct learner_options){.learn = true}, e));
    learner_on_seen(s->learner, seen, s);
    return STATUS_OK;
}

static enum status feed(struct sim *s, struct err *e)
{
    enum status st;
    while ((st = source_next(s->source, s->batch, 0, e)) == STATUS_OK)
        for (uint32_t i = 0; i < s->batch->n; i++) TRY(learner_record(s->learner, &s->batch->records[i], e));
    TRY(st == STATUS_END ? STATUS_OK : st);
    return learner_flush(s->learner, e);
}

static void print(const struct sim *s)
{
    static struct report r;
    const struct line *l = learner_line(s->learner);
    learner_report(s->learner, &r);
    printf("{\"examples\": %llu, \"slates\": %llu, \"learnt_examples\": %llu, \"steps\": %llu, \"gauc\": %.5f, "
           "\"logloss\": %.5f, \"calibration\": %.4f, \"core_seconds\": %.1f, \"score_core_s\": %.1f, "
           "\"learn_core_s\": %.1f, \"rollbacks\": %llu, \"blessings\": %llu, \"loss_alarms\": %llu, \"pauses\": %llu, "
           "\"restarts\": %llu, \"held\": %llu, \"held_bytes\": %llu, \"replayed\": %llu}\n",
           (unsigned long long)r.examples, (unsigned long long)r.slates, (unsigned long long)l->counts.learnt_examples,
           (unsigned long long)l->counts.steps, r.progressive.gauc, r.progressive.logloss, r.progressive.calibration,
           clock_cpu_s(), l->score_core_s, l->learn_core_s, (unsigned long long)r.gate.rollbacks,
           (unsigned long long)r.gate.blessings, (unsigned long long)r.guard.alarms_of[MONITOR_LOSS],
           (unsigned long long)r.guard.pauses, (unsigned long long)r.guard.restarts,
           (unsigned long long)r.reservoir.held, (unsigned long long)r.reservoir.bytes,
           (unsigned long long)r.reservoir.replayed);
}

static void close_all(struct sim *s)
{
    learner_free(s->learner);
    source_close(s->source);
    source_batch_free(s->batch);
    encoder_free(s->encoder);
    kern_free(s->kern);
    describe_close(s->templates);
    token_free(s->vocab);
    conf_free(s->conf);
}

int main(int argc, char **argv)
{
    static struct sim s;
    struct err e = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: forget_sim LOG OUT section.key=value...\n");
        return 2;
    }
    s.out = fopen(argv[2], "wb");
    enum status st = s.out != NULL ? STATUS_OK : ERR_SET(&e, STATUS_IO, "forget_sim: can't write %s", argv[2]);
    if (st == STATUS_OK) st = open_all(&s, argv[1], argv + 3, argc - 3, &e);
    if (st == STATUS_OK) st = feed(&s, &e);
    if (st == STATUS_OK) print(&s);
    if (s.out != NULL && fclose(s.out) != 0 && st == STATUS_OK) st = ERR_SET(&e, STATUS_IO, "forget_sim: can't write");
    close_all(&s);
    if (st != STATUS_OK) fprintf(stderr, "forget_sim: %s\n", e.text);
    return st != STATUS_OK;
}
