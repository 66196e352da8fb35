/* cmd_model_export.c - `freshet model export DIR`: a version of a state folder as a Hugging Face folder.
 *
 * The keys that the state follows from (parts, layers, views, features) are taken from the state folder itself, so the
 * configuration need only say where state and base model lie.
 */
#include "cli/model.h"
#include "cli/options.h"
#include "featurize/describe.h"
#include "featurize/feat.h"
#include "featurize/token.h"
#include "job/checkpoint_meta.h"
#include "model/model_export.h"
#include "schemas/weights.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char command[] = "model export";

struct export
{
    struct conf *conf;
    const char *dir;
    uint64_t version; /* 0: newest */
    struct checkpoint_meta meta;
    struct token_vocab *vocab;
    struct describe *templates;
    struct feat *feat;
    struct encoder *enc;
    struct model *model;
    struct param_set *params;
    struct buf file;
    struct arena arena;
    size_t n_layers;
};

static enum status build_model(struct export *x, struct err *e)
{
    const struct conf *c = x->conf;
    TRY(token_open(&x->vocab, c->model_base, e));
    TRY(describe_open(&x->templates, c, e));
    TRY(feat_new(&x->feat, c, x->vocab, x->templates, e));
    TRY(encoder_open(&x->enc, NULL, c->model_base, e));
    TRY(model_new(&x->model, c, conf_reads_text(c) ? x->enc : NULL, feat_count(x->feat), e));
    return param_set_new(&x->params, model_table(x->model), e);
}

static enum status load_weights(struct export *x, struct err *e)
{
    char path[CMD_MODEL_PATH];
    struct weights_view v;
    TRY(cmd_model_weights_path(path, x->conf->state_dir, x->version, e));
    const enum status st = weights_read_file(path, CMD_MODEL_FILE_MAX, &x->file, e);
    if (st == STATUS_NOT_FOUND)
        return ERR_SET(e, st, "%s keeps no version %" PRIu64 " (freshet model versions lists what is kept)",
                       x->conf->state_dir, x->version);
    TRY(st);
    TRY(weights_decode(&v, x->file.p, x->file.n, true, &x->arena, e));
    if (v.base_fingerprint != model_fingerprint(x->model))
        return ERR_SET(e, STATUS_CONFLICT,
                       "%s was learnt on another base model than %s; set model.base to the one it was learnt on", path,
                       x->conf->model_base);
    return param_from_view(model_table(x->model), &v, model_fingerprint(x->model), x->params, e);
}

/* freshet.json beside the tensors: where they are from. */
static enum status write_origin(const struct export *x, struct err *e)
{
    char path[CMD_MODEL_PATH];
    struct buf b = {0};
    if (snprintf(path, sizeof path, "%s/freshet.json", x->dir) >= (int)sizeof path)
        return ERR_SET(e, STATUS_INVALID, "DIR is longer than %d bytes", CMD_MODEL_PATH);
    buf_printf(&b,
               "{\"version\": %" PRIu64 ", \"sha256\": \"%s\", \"fingerprint\": \"%016" PRIx64
               "\", \"parts\": \"%s\", \"user_view\": \"%s\", \"item_view\": \"%s\", \"learnt_layers\": %zu, "
               "\"tensors\": \"" MODEL_EXPORT_FILE "\"}\n",
               x->params->version, x->params->sha256, model_fingerprint(x->model), x->conf->model_parts,
               x->conf->model_user_view, x->conf->model_item_view, x->n_layers);
    enum status st = buf_status(&b, e);
    if (st == STATUS_OK) st = weights_write_file(path, &b, e);
    buf_fini(&b);
    return st;
}

static enum status export(struct export *x, struct err *e) {
    const enum status st = checkpoint_meta_open(&x->meta, x->conf->state_dir, e);
    if (st == STATUS_NOT_FOUND) return ERR_SET(e, st, "%s is no state folder (state.dir)", x->conf->state_dir);
    TRY(st);
    if (x->meta.version == 0) return ERR_SET(e, STATUS_NOT_FOUND, "%s has no version yet: nothing was learnt into it",
                                             x->conf->state_dir);
    if (x->version == 0) x->version = x->meta.version;
    TRY(cmd_model_take_meaning(x->conf, &x->meta, e));
    TRY(build_model(x, e));
    TRY(load_weights(x, e));
    TRY(model_export_folder(x->model, x->enc, x->params, x->dir, &x->n_layers, e));
    return write_origin(x, e);
}

static void close_all(struct export *x)
{
    param_set_release(x->params);
    model_free(x->model);
    encoder_free(x->enc);
    feat_free(x->feat);
    describe_close(x->templates);
    token_free(x->vocab);
    arena_fini(&x->arena);
    buf_fini(&x->file);
    checkpoint_meta_close(&x->meta);
}

int cmd_model_export(int argc, char **argv)
{
    static const char *const keys[] = {"state.dir", "model.base", NULL};
    struct export x = {0};
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"state", "DIR", CMD_KEY, NULL, "state.dir", "the state folder"},
        {"version", "N", CMD_COUNT, &x.version, NULL, "this version, not the newest"},
    };
    const struct cmd_usage usage = {
        .command = command,
        .arguments = "DIR",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .keys = keys,
        .least = 1,
        .most = 1,
        .about = "Writes DIR as a Hugging Face folder that transformers opens: the base model's files, the learnt top "
                 "layers in place\n"
                 "of the pretrained ones, all other learnt tensors in " MODEL_EXPORT_FILE
                 ", and freshet.json that says what they are.\n"
                 "Parts, layers and views are the state folder's own; it may be in use by a learner meanwhile.\n"};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        x.conf = line.conf;
        x.dir = line.args[0];
        if (line.conf->state_dir[0] == 0) {
            (void)ERR_SET(&e, STATUS_INVALID, "set state.dir (-o state.dir=DIR)");
            rc = cmd_failed(command, &e) + 1; /* wrong usage */
        } else if (export(&x, &e) != STATUS_OK) {
            rc = cmd_failed(command, &e);
        } else {
            (void)fprintf(stderr, "freshet model export: %s: version %" PRIu64 ", %zu learnt layers\n", x.dir,
                          x.params->version, x.n_layers);
            rc = 0;
        }
        close_all(&x);
    }
    cmd_line_fini(&line);
    return rc;
}
