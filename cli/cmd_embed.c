/* cmd_embed.c - `freshet embed`: texts on stdin, one a line, to sentence vectors of the pretrained encoder. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/options.h"
#include "cli/text_lines.h"
#include "featurize/token.h"
#include "model/encoder.h"

static const char about[] = "Reads JSON lines {\"text\":\"...\"} and writes the same objects with \"embedding\":[...]: "
                            "the sentence vector of the\n"
                            "model's folder, pooled and normalised as the folder says, the text cut at its length.\n";

struct embed {
    struct kern *kern;
    struct encoder *model;
    struct encoder_run *run;
    struct token_vocab *vocab;
    size_t length; /* ids at most */
    int32_t *ids;  /* (length) */
    float *states; /* (length, C) */
    float *vector; /* (C) */
};

static enum status embed_text(void *user, struct str text, struct buf *out, struct err *e)
{
    struct embed *w = user;
    const struct token_opts how = {.special_in_text = true, .add_special = true, .max_length = w->length};
    const size_t C = encoder_shape(w->model)->C;
    size_t n;
    TRY(token_encode(w->vocab, text, how, w->ids, w->length, &n, e));
    TRY(encoder_run_sentence(w->run, w->ids, NULL, n, 0, NULL, w->states, e));
    encoder_pool(w->model, w->states, n, w->vector);
    buf_u8(out, '[');
    for (size_t c = 0; c < C; c++) buf_printf(out, c > 0 ? ",%.9g" : "%.9g", (double)w->vector[c]);
    buf_u8(out, ']');
    return STATUS_OK;
}

static enum status embed_open(struct embed *w, const char *dir, const char *backend, struct err *e)
{
    TRY(kern_new(&w->kern, backend, e));
    TRY(encoder_open(&w->model, w->kern, dir, e));
    TRY(encoder_run_new(&w->run, w->model, backend, e));
    TRY(token_open(&w->vocab, dir, e));
    const struct encoder_shape *s = encoder_shape(w->model);
    if (token_vocab_size(w->vocab) > s->V)
        return ERR_SET(e, STATUS_INVALID, "%s: the vocabulary has %zu entries, the model %zu", dir,
                       token_vocab_size(w->vocab), s->V);
    w->length = token_max_length(w->vocab) < s->max_tokens ? token_max_length(w->vocab) : s->max_tokens;
    w->ids = mem_calloc(w->length, sizeof *w->ids);
    w->states = mem_calloc(w->length, s->C * sizeof *w->states);
    w->vector = mem_calloc(s->C, sizeof *w->vector);
    if (w->ids == NULL || w->states == NULL || w->vector == NULL)
        return ERR_SET(e, STATUS_OOM, "no memory for sentences of %zu tokens", w->length);
    return STATUS_OK;
}

static void embed_close(struct embed *w)
{
    mem_free(w->ids);
    mem_free(w->states);
    mem_free(w->vector);
    token_free(w->vocab);
    encoder_run_free(w->run);
    encoder_free(w->model);
    kern_free(w->kern);
}

static enum status embed_all(const struct conf *c, bool plain, struct err *e)
{
    struct embed w = {0};
    const struct cmd_texts texts = {.plain = plain, .member = "embedding", .answer = embed_text, .user = &w};
    size_t n = 0;
    enum status st = embed_open(&w, c->model_base, c->kernels_backend, e);
    const int64_t start = clock_system()->mono_us(clock_system());
    if (st == STATUS_OK) st = cmd_texts_run(&texts, &n, e);
    const double seconds = (double)(clock_system()->mono_us(clock_system()) - start) * 1e-6;
    if (st == STATUS_OK)
        log_info("embed", "lines=%zu seconds=%.3f per_second=%.1f", n, seconds,
                 seconds > 0 ? (double)n / seconds : 0.0);
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
    static const char *const keys[] = {"model.base", "kernels.backend", NULL};
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
