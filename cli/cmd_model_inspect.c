/* cmd_model_inspect.c - `freshet model inspect PATH`: shapes, identity and tensors of what lies there, as text or JSON. */
#include "base/clock.h"
#include "cli/model.h"
#include "cli/options.h"
#include "featurize/token.h"
#include "model/encoder.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char command[] = "model inspect";

struct inspect {
    struct cmd_model m;
    struct encoder *enc; /* of a folder */
    struct token_vocab *vocab;
    bool json, tensors;
    struct buf out;
};
struct range {
    double least, most;
    size_t not_finite;
};

static const char *act_name(enum kern_act a)
{
    return a == KERN_ACT_GELU ? "gelu" : a == KERN_ACT_GELU_NEW ? "gelu_new" : a == KERN_ACT_RELU ? "relu" : "none";
}

static struct range range_of(const struct cmd_model_tensor *t)
{
    struct range r = {INFINITY, -INFINITY, 0};
    for (size_t i = 0; i < t->n; i++) {
        const double x = (double)t->values[i];
        r.not_finite += isfinite(x) ? 0 : 1;
        if (x < r.least) r.least = x;
        if (x > r.most) r.most = x;
    }
    return r;
}

/* ---- JSON ---- */

static json_t *tensor_json(const struct cmd_model_tensor *t)
{
    json_t *j = json_pack("{s:s, s:s, s:o}", "name", t->name, "type", t->type, "shape", cmd_model_shape_json(t));
    if (j == NULL || t->values == NULL) return j;
    const struct range r = range_of(t);
    if (json_object_set_new(j, "norm", cmd_model_number(cmd_model_norm(t->values, t->n))) == 0 &&
        json_object_set_new(j, "min", cmd_model_number(r.least)) == 0 &&
        json_object_set_new(j, "max", cmd_model_number(r.most)) == 0 &&
        json_object_set_new(j, "not_finite", json_integer((json_int_t)r.not_finite)) == 0)
        return j;
    json_decref(j);
    return NULL;
}

static json_t *tensors_json(const struct cmd_model *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n; i++)
        if (json_array_append_new(list, tensor_json(&m->tensors[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *folder_json(const struct inspect *x)
{
    char fingerprint[17];
    const struct encoder_shape *s = encoder_shape(x->enc);
    (void)snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, encoder_fingerprint(x->enc));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:s, s:b, s:I, s:{s:I, s:I}}",
                     "kind", "folder", "path", encoder_dir(x->enc), "fingerprint", fingerprint, "layers",
                     (json_int_t)s->L, "hidden", (json_int_t)s->C, "heads", (json_int_t)s->H, "ffn", (json_int_t)s->F,
                     "vocabulary", (json_int_t)s->V, "positions", (json_int_t)s->P, "token_types", (json_int_t)s->types,
                     "layer_norm_eps", (double)s->eps, "activation", act_name(s->act), "pooling",
                     s->pool_cls ? "cls" : "mean", "normalised", (int)s->unit, "max_tokens", (json_int_t)s->max_tokens,
                     "tokenizer", "ids", (json_int_t)token_vocab_size(x->vocab), "max_tokens",
                     (json_int_t)token_max_length(x->vocab));
}

static json_t *weights_json(const struct inspect *x)
{
    char base[17];
    (void)snprintf(base, sizeof base, "%016" PRIx64, x->m.base_fingerprint);
    return json_pack("{s:s, s:s, s:I, s:s, s:I}", "kind", x->m.kind == CMD_MODEL_STATE ? "state" : "weights", "path",
                     x->m.path, "version", (json_int_t)x->m.version, "base_fingerprint", base, "moments_bytes",
                     (json_int_t)x->m.n_moments);
}

static int print_json(const struct inspect *x)
{
    json_t *j = x->enc != NULL                       ? folder_json(x)
                : x->m.kind == CMD_MODEL_SAFETENSORS ? json_pack("{s:s, s:s}", "kind", "safetensors", "path", x->m.path)
                                                     : weights_json(x);
    json_t *more =
        json_pack("{s:s, s:I, s:I, s:o, s:o}", "sha256", x->m.sha256, "parameters", (json_int_t)x->m.n_params, "bytes",
                  (json_int_t)x->m.bytes, "time", cmd_model_time(x->m.time_ms), "tensors", tensors_json(&x->m));
    if (j != NULL && (more == NULL || json_object_update(j, more) != 0)) {
        json_decref(j);
        j = NULL;
    }
    json_decref(more);
    return cmd_model_print_json(command, j);
}

/* ---- text ---- */

static void put_tensors(struct buf *b, const struct cmd_model *m)
{
    char shape[96];
    size_t width = 6;
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->tensors[i].name) > width) width = strlen(m->tensors[i].name);
    buf_printf(b, "\n%-*s  %-4s %14s %12s %12s %12s\n", (int)width, "tensor", "type", "shape", "norm", "min", "max");
    for (size_t i = 0; i < m->n; i++) {
        const struct cmd_model_tensor *t = &m->tensors[i];
        cmd_model_shape(shape, t);
        buf_printf(b, "%-*s  %-4s %14s", (int)width, t->name, t->type, shape);
        if (t->values != NULL) {
            const struct range r = range_of(t);
            buf_printf(b, " %12.6g %12.6g %12.6g", cmd_model_norm(t->values, t->n), r.least, r.most);
            if (r.not_finite > 0) buf_printf(b, "  %zu not finite", r.not_finite);
        }
        buf_u8(b, '\n');
    }
}

static size_t params_under(const struct cmd_model *m, const char *word)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->tensors[i].values != NULL && strstr(m->tensors[i].name, word) != NULL) n += m->tensors[i].n;
    return n;
}

static void put_folder(struct inspect *x)
{
    struct buf *b = &x->out;
    const struct encoder_shape *s = encoder_shape(x->enc);
    const size_t embeddings = params_under(&x->m, "embeddings."), layers = params_under(&x->m, "encoder.layer.");
    buf_printf(b, "model        %s\n", encoder_dir(x->enc));
    buf_printf(b, "architecture BERT: %zu layers of %zu, %zu heads, FFN %zu, %s, LayerNorm eps %g\n", s->L, s->C, s->H,
               s->F, act_name(s->act), (double)s->eps);
    buf_printf(b, "tables       %zu word pieces, %zu positions, %zu token types\n", s->V, s->P, s->types);
    buf_printf(b, "tokenizer    %zu ids, at most %zu a text\n", token_vocab_size(x->vocab), token_max_length(x->vocab));
    buf_printf(b, "pooling      %s%s, sentences of at most %zu tokens\n", s->pool_cls ? "[CLS]" : "mean of tokens",
               s->unit ? ", normalised to unit length" : "", s->max_tokens);
    buf_printf(b, "parameters   %zu: embeddings %zu, layers %zu (%zu each), other %zu\n", x->m.n_params, embeddings,
               layers, layers / s->L, x->m.n_params - embeddings - layers);
    buf_printf(b, "fingerprint  %016" PRIx64 "\n", encoder_fingerprint(x->enc));
}

static int print_text(struct inspect *x)
{
    char time[CLOCK_TEXT];
    struct buf *b = &x->out;
    clock_format(x->m.time_ms, time);
    if (x->enc != NULL) put_folder(x);
    buf_printf(b, "file         %s, %" PRIu64 " bytes, %zu tensors, %s\n", x->m.path, x->m.bytes, x->m.n, time);
    if (x->m.kind == CMD_MODEL_WEIGHTS || x->m.kind == CMD_MODEL_STATE)
        buf_printf(b,
                   "version      %" PRIu64 "\nparameters   %zu in tensors, moments of %" PRIu64
                   " bytes\nbase         %016" PRIx64 " (fingerprint of base weights, parts and shapes)\n",
                   x->m.version, x->m.n_params, x->m.n_moments, x->m.base_fingerprint);
    buf_printf(b, "sha256       %s%s\n", x->m.sha256, x->m.version > 0 ? " (of the parameters)" : "");
    if (x->enc == NULL || x->tensors) put_tensors(b, &x->m);
    return cmd_print(command, b);
}

static enum status inspect(struct inspect *x, const char *path, uint64_t version, struct err *e)
{
    TRY(cmd_model_open(&x->m, path, version, e));
    if (x->m.kind != CMD_MODEL_FOLDER) return STATUS_OK;
    TRY(encoder_open(&x->enc, NULL, path, e));
    return token_open(&x->vocab, path, e);
}

int cmd_model_inspect(int argc, char **argv)
{
    struct inspect x = {0};
    uint64_t version = 0;
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"json", NULL, CMD_FLAG, &x.json, NULL, "one JSON object, tensors included"},
        {"tensors", NULL, CMD_FLAG, &x.tensors, NULL,
         "a folder's tensors too (those of weight files are always listed)"},
        {"version", "N", CMD_COUNT, &version, NULL, "of a state folder: this version, not the newest"},
    };
    const struct cmd_usage usage = {.command = command,
                                    .arguments = "PATH",
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .least = 1,
                                    .most = 1,
                                    .about = "PATH is a Hugging Face folder, a state folder (its newest version), a "
                                             "weight file or a .safetensors file.\n"};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        if (inspect(&x, line.args[0], version, &e) != STATUS_OK)
            rc = cmd_failed(command, &e);
        else
            rc = x.json ? print_json(&x) : print_text(&x);
    }
    token_free(x.vocab);
    encoder_free(x.enc);
    cmd_model_close(&x.m);
    buf_fini(&x.out);
    cmd_line_fini(&line);
    return rc;
}
