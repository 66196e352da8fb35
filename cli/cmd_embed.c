/* cmd_embed.c - `freshet embed`: texts on stdin, one a line, to sentence vectors of the pretrained encoder. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/cmd.h"
#include "cli/options.h"
#include "cli/text_lines.h"
#include "featurize/token.h"
#include "model/encoder.h"
#include "serving/score_text.h"
#include <math.h>

static const char about[] = "Reads JSON lines {\"text\":\"...\"} and writes the same objects with \"embedding\":[...]: "
                            "the sentence vector of the\n"
                            "model's folder, pooled and normalised as the folder says, the text cut at its length.\n";

#define TOGETHER 512 /* texts of a pass, at most; fewer where their tokens fill one */

/* One worker: its own run, and what its share of the texts needs. */
struct embedder {
    struct encoder_run *run;
    int32_t *ids;   /* (length) of as many sentences as one pass takes */
    float *vectors; /* (TOGETHER, C) */
};
struct embed {
    struct kern *kern;
    struct encoder *model;
    struct token_vocab *vocab;
    struct pool *pool;
    struct embedder *workers;
    size_t n_workers;
    size_t length;          /* ids of a text at most */
    size_t room;            /* ids of a pass at most */
    struct cmd_text *texts; /* of the batch under way */
    size_t n;
};

static void put_vector(struct buf *out, const float *v, size_t C)
{
    buf_u8(out, '[');
    for (size_t c = 0; c < C; c++) {
        if (c > 0) buf_u8(out, ',');
        if (isfinite(v[c]))
            score_text_float(out, v[c]);
        else
            score_text_put(out, "null"); /* JSON has no other word for it */
    }
    buf_u8(out, ']');
}

/* Tokens of texts first … last-1 as far as they fit into one pass; returns the text after the last that does.  One that can't be
 * put into tokens says so itself. */
static size_t take_pass(const struct embed *w, struct embedder *x, size_t first, size_t last,
                        struct encoder_sentence *q, struct cmd_text **whose, size_t *n)
{
    const struct token_opts how = {.special_in_text = true, .add_special = true, .max_length = w->length};
    size_t used = 0, i = first, ids;
    for (*n = 0; i < last && *n < TOGETHER && (used == 0 || used + w->length <= w->room); i++) {
        struct cmd_text *t = &w->texts[i];
        t->status = token_encode(w->vocab, t->text, how, x->ids + used, w->length, &ids, &t->why);
        if (t->status != STATUS_OK) continue;
        q[*n] = (struct encoder_sentence){
            .ids = x->ids + used, .n = ids, .vector = x->vectors + *n * encoder_shape(w->model)->C};
        whose[(*n)++] = t;
        used += ids;
    }
    return i;
}

static void embed_pass(const struct embed *w, struct embedder *x, const struct encoder_sentence *q,
                       struct cmd_text **whose, size_t n)
{
    struct err e = {0};
    const enum status st = encoder_run_sentences(x->run, q, n, 0, &e);
    for (size_t i = 0; i < n; i++) {
        whose[i]->status = st;
        whose[i]->why = e;
        if (st != STATUS_OK) continue;
        put_vector(&whose[i]->answer, q[i].vector, encoder_shape(w->model)->C);
    }
}

/* Each worker takes an equal share of the texts. */
static void embed_share(void *user, size_t i)
{
    const struct embed *w = user;
    struct encoder_sentence q[TOGETHER];
    struct cmd_text *whose[TOGETHER];
    const size_t last = (i + 1) * w->n / w->n_workers;
    for (size_t at = i * w->n / w->n_workers, n; at < last;) {
        at = take_pass(w, &w->workers[i], at, last, q, whose, &n);
        if (n > 0) embed_pass(w, &w->workers[i], q, whose, n);
    }
}

static void embed_texts(void *user, struct cmd_text *texts, size_t n)
{
    struct embed *w = user;
    w->texts = texts;
    w->n = n;
    pool_run(w->pool, embed_share, w, w->n_workers);
}

static enum status open_workers(struct embed *w, const struct conf *c, struct err *e)
{
    const size_t C = encoder_shape(w->model)->C;
    char backend[KERN_NAME_MAX];
    kern_name(c, backend);
    TRY(pool_new(&w->pool, (unsigned)c->kernels_threads, c->kernels_pin, e));
    const size_t threads = pool_threads(w->pool);
    w->workers = mem_calloc(threads, sizeof *w->workers);
    if (w->workers == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %zu workers", threads);
    for (; w->n_workers < threads; w->n_workers++) {
        struct embedder *x = &w->workers[w->n_workers];
        TRY(encoder_run_new(&x->run, w->model, backend, e));
        const size_t chunk = encoder_run_chunk(x->run);
        w->room = w->length > chunk ? w->length : chunk + w->length;
        x->ids = mem_calloc(w->room, sizeof *x->ids);
        x->vectors = mem_calloc(TOGETHER, C * sizeof *x->vectors);
        if (x->ids == NULL || x->vectors == NULL) {
            w->n_workers++;
            return ERR_SET(e, STATUS_OOM, "no memory for sentences of %zu tokens", w->length);
        }
    }
    return STATUS_OK;
}

static enum status embed_open(struct embed *w, const struct conf *c, struct err *e)
{
    TRY(encoder_open_conf(&w->model, &w->kern, c, e));
    TRY(token_open(&w->vocab, c->model_base, e));
    const struct encoder_shape *s = encoder_shape(w->model);
    if (token_vocab_size(w->vocab) > s->V)
        return ERR_SET(e, STATUS_INVALID, "%s: the vocabulary has %zu entries, the model %zu", c->model_base,
                       token_vocab_size(w->vocab), s->V);
    w->length = token_max_length(w->vocab) < s->max_tokens ? token_max_length(w->vocab) : s->max_tokens;
    return open_workers(w, c, e);
}

static void embed_close(struct embed *w)
{
    pool_free(w->pool);
    for (size_t i = 0; i < w->n_workers; i++) {
        encoder_run_free(w->workers[i].run);
        mem_free(w->workers[i].ids);
        mem_free(w->workers[i].vectors);
    }
    mem_free(w->workers);
    token_free(w->vocab);
    encoder_free(w->model);
    kern_free(w->kern);
}

static enum status embed_all(const struct conf *c, bool plain, struct err *e)
{
    struct embed w = {0};
    const struct cmd_texts texts = {.plain = plain, .member = "embedding", .answer = embed_texts, .user = &w};
    size_t n = 0;
    enum status st = embed_open(&w, c, e);
    const int64_t start = clock_system()->mono_us(clock_system());
    if (st == STATUS_OK) st = cmd_texts_run(&texts, &n, e);
    const double seconds = (double)(clock_system()->mono_us(clock_system()) - start) * 1e-6;
    if (st == STATUS_OK)
        log_info("embed", "lines=%zu seconds=%.3f per_second=%.1f precision=%s cosine=%.4f kernels=\"%s\"", n, seconds,
                 seconds > 0 ? (double)n / seconds : 0.0, c->kernels_precision, encoder_precision_cosine(w.model),
                 kern_describe(w.kern));
    embed_close(&w);
    return st;
}

int cmd_embed(int argc, char **argv)
{
    bool plain = false;
    const struct cmd_option options[] = {
        {"model", "DIR", CMD_KEY, NULL, "model.base", "Hugging Face folder of a BERT-family encoder"},
        {"plain", NULL, CMD_FLAG, &plain, NULL, "each line is a text, not an object"},
    };
    static const char *const keys[] = {"model.base", "kernels.", NULL};
    const struct cmd_usage usage = {.command = "embed",
                                    .arguments = "",
                                    .about = about,
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .keys = keys};
    struct cmd_line line;
    struct err e = {0};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = embed_all(line.conf, plain, &e) == STATUS_OK ? 0 : cmd_failed("embed", &e);
    cmd_line_fini(&line);
    return rc;
}
