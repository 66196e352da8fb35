/* learner_world.c - see learner_world.h. */
#include "tests/support/learner_world.h"
#include "simulate/stream.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <stdio.h>

static enum status write_line(void *user, int64_t time_ms, struct str text)
{
    (void)time_ms;
    return fwrite(text.p, 1, text.n, user) == text.n ? STATUS_OK : STATUS_IO;
}

static uint64_t make_log(const struct learner_world *w, const struct shop_options *o)
{
    char path[300];
    struct stream_truth truth;
    struct err e;
    FILE *f = fopen(tmpdir_file(&w->dir, "log", path), "w");
    assert_non_null(f);
    assert_ok(stream_run(o, false, write_line, f, &truth, &e), &e);
    assert_int_equal(fclose(f), 0);
    return truth.lists;
}

static void set(struct conf *c, const char *option)
{
    struct err e;
    assert_ok(conf_set_option(c, option, &e), &e);
}

void learner_world_open(struct learner_world *w, uint64_t events)
{
    learner_world_open_for(w, events, 10);
}

void learner_world_open_for(struct learner_world *w, uint64_t events, uint64_t users)
{
    struct shop_options o;
    shop_defaults(&o);
    o.events = events;
    o.users = (uint32_t)users;
    o.items = 24;
    o.lists_per_s = 5.0;
    (void)learner_world_open_shop(w, &o);
}

uint64_t learner_world_open_shop(struct learner_world *w, const struct shop_options *o)
{
    struct err e;
    char base[400];
    *w = (struct learner_world){.dir = tmpdir_make("learner")};
    const uint64_t lists = make_log(w, o);
    assert_ok(conf_new(&w->conf, &e), &e);
    (void)snprintf(base, sizeof base, "model.base=%s", files_source("tests/fixtures/uncased"));
    set(w->conf, base);
    set(w->conf, "model.hashed_bits=12");
    set(w->conf, "model.user_bits=6");
    set(w->conf, "join.window_ms=60000");
    set(w->conf, "train.batch_slates=2");
    set(w->conf, "kernels.threads=1");
    assert_ok(token_open(&w->vocab, w->conf->model_base, &e), &e);
    assert_ok(describe_open(&w->templates, w->conf, &e), &e);
    assert_ok(kern_new(&w->kern, "cpu", &e), &e);
    assert_ok(encoder_open(&w->encoder, w->kern, w->conf->model_base, &e), &e);
    assert_ok(source_batch_new(&w->batch, &e), &e);
    w->in =
        (struct learner_parts_in){.conf = w->conf, .vocab = w->vocab, .templates = w->templates, .encoder = w->encoder};
    learner_world_rewind(w);
    return lists;
}

void learner_world_close(struct learner_world *w)
{
    source_close(w->source);
    source_batch_free(w->batch);
    encoder_free(w->encoder);
    kern_free(w->kern);
    describe_close(w->templates);
    token_free(w->vocab);
    conf_free(w->conf);
    tmpdir_remove(&w->dir);
}

void learner_world_rewind(struct learner_world *w)
{
    struct err e;
    char path[300];
    const char *paths[] = {tmpdir_file(&w->dir, "log", path)};
    source_close(w->source);
    assert_ok(source_open_files(&w->source, w->conf, paths, 1, NULL, &e), &e);
    w->batch->n = w->at = 0;
}

uint64_t learner_world_feed(struct learner_world *w, struct learner *l, uint64_t n)
{
    struct err e;
    for (uint64_t i = 0; i < n; i++) {
        if (w->at == w->batch->n) {
            const enum status st = source_next(w->source, w->batch, 0, &e);
            w->at = 0;
            if (st == STATUS_END) w->batch->n = 0;
            if (st == STATUS_END) return i;
            assert_ok(st, &e);
        }
        const struct source_record *rec = &w->batch->records[w->at++];
        if (l != NULL) assert_ok(learner_record(l, rec, &e), &e);
    }
    return n;
}
