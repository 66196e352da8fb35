/* check_model.c - the model folder: do encoder, tokenizer, templates and features open, and do they fit together? */
#include "cli/check.h"
#include "featurize/describe.h"
#include "featurize/feat.h"
#include "featurize/token.h"
#include "kernels/kern.h"
#include "model/encoder.h"
#include "model/model.h"
#include "schemas/weights.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>

#define DEVICE_MB 2048 /* of a device, at most, for the check */

/* What the model will ask of Redis, from its table of parameters, and which versions there it takes.  With variants the frozen base and
 * the features are those of all together: not known here. */
static void look_at_versions(struct cmd_check *c, const struct encoder *enc)
{
    struct model *m = NULL;
    if (model_new(&m, c->conf, conf_reads_text(c->conf) ? enc : NULL, c->n_numeric, NULL) != STATUS_OK) return;
    publish_need(c->conf, model_table(m)->total * sizeof(float) + WEIGHTS_NAME_MAX * model_table(m)->n,
                 model_wants_states(m) ? encoder_shape(enc)->C : 0, model_wants_tokens(m), &c->need);
    if (c->conf->n_variants == 0) c->fingerprint = model_fingerprint(m);
    model_free(m);
}

/* A device may have work: no more of its memory than the check needs. */
static void name_kernels(const struct conf *c, char name[KERN_NAME_MAX])
{
    struct conf own = *c; /* read only: nothing of it is freed */
    if (own.kernels_device_mb == 0 || own.kernels_device_mb > DEVICE_MB) own.kernels_device_mb = DEVICE_MB;
    kern_name(&own, name);
}

static struct kern *open_kernels(struct cmd_check *c)
{
    struct kern *k = NULL;
    struct err e = {0};
    char name[KERN_NAME_MAX];
    name_kernels(c->conf, name);
    if (kern_new(&k, name, &e) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "kernels", "set kernels.backend and kernels.cpu to what there is here", "%s",
                      e.text);
    return k;
}

/* Rounded as kernels.precision says, which is checked against f32. */
static void check_precision(struct cmd_check *c, struct encoder *m, const struct kern *k)
{
    struct err e = {0};
    char name[KERN_NAME_MAX];
    const struct conf *conf = c->conf;
    name_kernels(conf, name);
    if (encoder_round(m, conf->kernels_precision, conf->kernels_min_cosine, name, &e) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "kernels", "set kernels.precision to what is as good as f32", "%s", e.text);
    else
        cmd_check_row(c, CMD_CHECK_OK, "kernels", NULL, "%s; frozen layers in %s, cosine to f32 at least %.4f",
                      kern_describe(k), conf->kernels_precision, encoder_precision_cosine(m));
}

static void check_encoder(struct cmd_check *c)
{
    struct encoder *m = NULL;
    struct err e = {0};
    const struct conf *conf = c->conf;
    struct kern *k = open_kernels(c);
    if (encoder_open(&m, k, conf->model_base, &e) != STATUS_OK) {
        cmd_check_row(c, CMD_CHECK_WRONG, "model",
                      "set model.base to a Hugging Face BERT folder (deploy/setup.sh fetches one)", "%s", e.text);
        kern_free(k);
        return;
    }
    const struct encoder_shape *s = encoder_shape(m);
    if ((size_t)conf->model_trainable_layers > s->L)
        cmd_check_row(c, CMD_CHECK_WRONG, "model", "lower model.trainable_layers",
                      "%s has %zu layers, model.trainable_layers = %lld", conf->model_base, s->L,
                      (long long)conf->model_trainable_layers);
    else
        cmd_check_row(c, CMD_CHECK_OK, "model", NULL, "%s: %zu layers of %zu, %zu heads, %zu positions, %s pooling",
                      conf->model_base, s->L, s->C, s->H, s->P, s->pool_cls ? "[CLS]" : "mean");
    if (c->vocab != NULL && token_vocab_size(c->vocab) > s->V)
        cmd_check_row(c, CMD_CHECK_WRONG, "model", "take tokenizer and weights from one folder",
                      "the tokenizer has %zu ids, the model's table %zu rows", token_vocab_size(c->vocab), s->V);
    if (k != NULL) check_precision(c, m, k); /* rounded frozen layers are another base */
    look_at_versions(c, m);
    encoder_free(m);
    kern_free(k);
}

static void check_templates(struct cmd_check *c)
{
    struct describe *d = NULL;
    struct feat *f = NULL;
    struct err e = {0};
    if (describe_open(&d, c->conf, &e) != STATUS_OK) {
        cmd_check_row(c, CMD_CHECK_WRONG, "templates", "mend the template named", "%s", e.text);
        return;
    }
    if (c->vocab != NULL && feat_new(&f, c->conf, c->vocab, d, &e) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "features", "mend model.features", "%s", e.text);
    else if (f != NULL)
        cmd_check_row(c, CMD_CHECK_OK, "features", NULL, "%u numeric features; templates: %s%s%s", feat_count(f),
                      c->conf->describe_language, c->conf->describe_templates[0] ? ", " : "",
                      c->conf->describe_templates);
    if (f != NULL) c->n_numeric = feat_count(f);
    if (f != NULL) c->recipe = feat_recipe(f);
    feat_free(f);
    describe_close(d);
}

/* Which of them is read depends on what the processes run with: they say so when they start. */
static void check_states(struct cmd_check *c)
{
    static const char *const mend = "make one: freshet model warm LOG... --out DIR (or --state, --redis)";
    const char *path = c->conf->kernels_states_dir;
    unsigned n = 0;
    if (*path == 0) return;
    DIR *dir = opendir(path);
    for (struct dirent *f = dir != NULL ? readdir(dir) : NULL; f != NULL; f = readdir(dir)) {
        const size_t length = strlen(f->d_name);
        n += length > 7 && strcmp(f->d_name + length - 7, ".states") == 0;
    }
    if (dir == NULL)
        cmd_check_row(c, CMD_CHECK_WARN, "states", mend, "kernels.states_dir = %s: %s", path, strerror(errno));
    else
        cmd_check_row(c, n > 0 ? CMD_CHECK_OK : CMD_CHECK_WARN, "states", n > 0 ? NULL : mend,
                      "kernels.states_dir = %s: %u files", path, n);
    if (dir != NULL) (void)closedir(dir);
}

void cmd_check_model(struct cmd_check *c)
{
    struct err e = {0};
    if (token_open(&c->vocab, c->conf->model_base, &e) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "tokenizer", "set model.base to a folder with vocab.txt or tokenizer.json",
                      "%s", e.text);
    else
        cmd_check_row(c, CMD_CHECK_OK, "tokenizer", NULL, "%zu ids, at most %zu a text", token_vocab_size(c->vocab),
                      token_max_length(c->vocab));
    check_templates(c);
    check_encoder(c);
    check_states(c);
}
