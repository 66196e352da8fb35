/* conf_variant.c - see conf_variant.h. */
#include "schemas/conf_variant.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "schemas/conf_table.h"
#include "schemas/event_json.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define USER_SALT UINT64_C(0x76617269616e7473) /* "variants" */

/* ---- which keys a variant may change ---- */

/* What only the learner of one line reads.  All train.* keys are that, but train.tasks: which behaviour a slate's bits mean is
 * the joiner's too; and train.rank*: the processes. */
bool conf_is_lines_own(const char *key)
{
    static const char *const keys[] = {"model.parts",        "model.trainable_layers", "model.user_view",
                                       "model.item_view",    "model.dropout",          "model.hashed_bits",
                                       "model.concat_tokens"};
    if (strncmp(key, "train.", 6) == 0) return strcmp(key, "train.tasks") != 0 && strncmp(key, "train.rank", 10) != 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

bool conf_judges_alike(const char *key)
{
    static const char *const sections[] = {"model.",   "describe.", "history.", "catalogue.", "counter.",
                                           "cooccur.", "train.",    "gate.",    "guard.",     "kernels."};
    static const char *const keys[] = {"join.loss", "join.wait_ms", "join.negative_rate"}; /* when and what is learnt */
    const char *dot = strrchr(key, '.');
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (strncmp(key, sections[i], strlen(sections[i])) == 0) return true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return strncmp(key, "type.", 5) == 0 && (strcmp(dot, ".weight") == 0 || strcmp(dot, ".template") == 0);
}

/* Copies into scratch what the key would become: the check is the key's own. */
static enum status try_value(const char *name, const char *key, const char *value, struct err *e)
{
    struct conf *scratch = NULL;
    struct err why = {0};
    TRY(conf_new(&scratch, e));
    const enum status st = conf_set(scratch, key, value, &why);
    conf_free(scratch);
    if (st != STATUS_OK) return ERR_SET(e, st, "variant.%s.%s", name, why.text);
    if (conf_is_lines_own(key)) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "variant.%s.%s: this key belongs to what all variants share; a variant may change train.* and "
                   "model.parts, trainable_layers, user_view, item_view, dropout, hashed_bits, concat_tokens",
                   name, key);
}

/* ---- setting ---- */

static enum status check_name(struct str name, struct err *e)
{
    bool ok = name.n > 0 && name.n < CONF_VARIANT_NAME && !str_is(name, CONF_LINE_DEFAULT);
    for (size_t i = 0; i < name.n && ok; i++)
        ok = isalnum((unsigned char)name.p[i]) || name.p[i] == '_' || name.p[i] == '-';
    if (ok) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "variant.%.*s: a variant's name has 1 to %d letters, digits, '_' or '-', and is not \"%s\"",
                   name.n > 60 ? 60 : (int)name.n, name.p, CONF_VARIANT_NAME - 1, CONF_LINE_DEFAULT);
}

/* The variant of that name, new when it is not there. */
static enum status variant_of(struct conf *c, struct str name, struct conf_variant **out, struct err *e)
{
    const size_t there = conf_line_find(c, name);
    TRY(check_name(name, e));
    if (there != SIZE_MAX) {
        *out = &c->variants[there - 1];
        return STATUS_OK;
    }
    if (c->n_variants == CONF_VARIANTS_MAX)
        return ERR_SET(e, STATUS_INVALID, "variant." STR_FMT ": there are %d variants already, which is the most",
                       STR_ARG(name), CONF_VARIANTS_MAX);
    struct conf_variant *more = mem_realloc(c->variants, c->n_variants + 1, sizeof *more);
    if (more == NULL) return ERR_SET(e, STATUS_OOM, "variant." STR_FMT ": out of memory", STR_ARG(name));
    c->variants = more;
    *out = &more[c->n_variants++];
    **out = (struct conf_variant){0};
    memcpy((*out)->name, name.p, name.n);
    return STATUS_OK;
}

static enum status put_key(struct conf_variant *v, const char *key, const char *value, struct err *e)
{
    size_t i = 0;
    while (i < v->n_keys && strcmp(v->keys[i].key, key) != 0) i++;
    char *copy = mem_strdup(value), *name = NULL;
    if (copy == NULL) goto oom;
    if (i < v->n_keys) {
        mem_free(v->keys[i].value);
        v->keys[i].value = copy;
        return STATUS_OK;
    }
    struct conf_pair *more = mem_realloc(v->keys, v->n_keys + 1, sizeof *more);
    if (more != NULL) v->keys = more;
    name = more != NULL ? mem_strdup(key) : NULL;
    if (name == NULL) goto oom;
    v->keys[v->n_keys++] = (struct conf_pair){name, copy};
    return STATUS_OK;
oom:
    mem_free(copy);
    return ERR_SET(e, STATUS_OOM, "variant.%s.%s: out of memory", v->name, key);
}

static enum status set_shadow(struct conf_variant *v, const char *value, struct err *e)
{
    const bool yes = strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "false") != 0)
        return ERR_SET(e, STATUS_INVALID, "variant.%s.shadow: '%s' is neither true nor false", v->name, value);
    v->shadow = yes;
    return STATUS_OK;
}

static enum status set_share(struct conf_variant *v, const char *value, struct err *e)
{
    double share;
    int used = 0;
    if (sscanf(value, "%lf%n", &share, &used) != 1 || value[used] != 0 || !(share >= 0.0 && share <= 1.0))
        return ERR_SET(e, STATUS_INVALID, "variant.%s.share: '%s' is not a share of the users from 0 to 1", v->name,
                       value);
    v->share = share;
    return STATUS_OK;
}

enum status conf_variant_set(struct conf *c, const char *name_and_key, const char *value, struct err *e)
{
    struct conf_variant *v = NULL;
    const char *dot = strchr(name_and_key, '.');
    if (dot == NULL)
        return ERR_SET(e, STATUS_INVALID, "variant.%s: expected variant.NAME.share, .shadow or .<key of the learner>",
                       name_and_key);
    const struct str name = {name_and_key, (size_t)(dot - name_and_key)};
    const char *key = dot + 1;
    const bool own = strcmp(key, "share") == 0 || strcmp(key, "shadow") == 0;
    TRY(check_name(name, e));
    if (!own) {
        char text[CONF_VARIANT_NAME] = "";
        memcpy(text, name.p, name.n);
        TRY(try_value(text, key, value, e));
    }
    TRY(variant_of(c, name, &v, e));
    if (!own) return put_key(v, key, value, e);
    return strcmp(key, "share") == 0 ? set_share(v, value, e) : set_shadow(v, value, e);
}

void conf_variants_free(struct conf *c)
{
    for (size_t i = 0; i < c->n_variants; i++) {
        struct conf_variant *v = &c->variants[i];
        for (size_t k = 0; k < v->n_keys; k++) {
            mem_free(v->keys[k].key);
            mem_free(v->keys[k].value);
        }
        mem_free(v->keys);
    }
    mem_free(c->variants);
    c->variants = NULL;
    c->n_variants = 0;
}

/* ---- what follows from them ---- */

static enum status copy_base(struct conf **out, const struct conf *c, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "configuration of a variant: out of memory");
    **out = *c;
    (*out)->kafka = NULL;
    (*out)->n_kafka = 0;
    (*out)->variants = NULL;
    (*out)->n_variants = 0;
    return STATUS_OK;
}

enum status conf_line_new(struct conf **out, const struct conf *c, size_t line, struct err *e)
{
    struct conf *own = NULL;
    enum status st;
    *out = NULL;
    TRY(copy_base(&own, c, e));
    if (line > 0) {
        const struct conf_variant *v = &c->variants[line - 1];
        for (size_t i = 0; i < v->n_keys; i++) TRY_OUT(st, conf_set(own, v->keys[i].key, v->keys[i].value, e));
        (void)snprintf(own->model_name, sizeof own->model_name, "%.64s/%s", c->model_name, v->name);
    }
    st = STATUS_OK;
    *out = own;
    own = NULL;
out:
    conf_free(own);
    return st;
}

size_t conf_line_only_orders(const struct conf *c)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < conf_lines(c) && found == SIZE_MAX; i++) {
        struct conf *own;
        if (conf_line_new(&own, c, i, NULL) != STATUS_OK) return SIZE_MAX;
        if (own->train_softmax_share >= 1.0 && !own->train_recalibration && strcmp(own->join_loss, "wait") == 0)
            found = i;
        conf_free(own);
    }
    return found;
}

/* Adds the words of `more` that `list` does not have. */
static void add_parts(char list[CONF_TEXT], const char *more)
{
    struct str w;
    while (conf_list_next(&more, &w)) {
        char word[64];
        if (w.n == 0 || w.n >= sizeof word) continue;
        (void)snprintf(word, sizeof word, STR_FMT, STR_ARG(w));
        const size_t at = strlen(list);
        if (!conf_list_has(list, word)) (void)snprintf(list + at, CONF_TEXT - at, "%s%s", at > 0 ? "," : "", word);
    }
}

enum status conf_world_new(struct conf **out, const struct conf *c, struct err *e)
{
    TRY(copy_base(out, c, e));
    for (size_t i = 0; i < c->n_variants; i++)
        for (size_t k = 0; k < c->variants[i].n_keys; k++)
            if (strcmp(c->variants[i].keys[k].key, "model.parts") == 0)
                add_parts((*out)->model_parts, c->variants[i].keys[k].value);
    return STATUS_OK;
}

enum status conf_variants_check(const struct conf *c, struct err *e)
{
    double sum = 0.0;
    for (size_t i = 0; i < c->n_variants; i++) {
        struct conf *own = NULL;
        struct err why = {0};
        enum status st = conf_line_new(&own, c, i + 1, &why);
        if (st == STATUS_OK)
            memcpy(own->serving_explore, "none", sizeof "none"); /* a rule of the scorer's, not a line's */
        if (st == STATUS_OK) st = conf_check(own, &why);
        if (st == STATUS_OK && own->train_distill > 0)
            st = ERR_SET(
                &why, STATUS_INVALID,
                "train.distill = %g: only the base configuration's line has a blessed version; set it to 0 here",
                own->train_distill);
        conf_free(own);
        if (st != STATUS_OK) return ERR_SET(e, st, "variant.%s: %s", c->variants[i].name, why.text);
        if (!c->variants[i].shadow) sum += c->variants[i].share;
    }
    if (sum < 1.0 || c->n_variants == 0) return STATUS_OK;
    return ERR_SET(
        e, STATUS_INVALID,
        "the variants' shares add up to %g: they must stay below 1, since the rest is what the one in charge "
        "serves",
        sum);
}

void conf_variants_dump(const struct conf *c, struct buf *b)
{
    for (size_t i = 0; i < c->n_variants; i++) {
        const struct conf_variant *v = &c->variants[i];
        buf_printf(b, "\n[variant.%s]\nshare = ", v->name);
        event_json_number(b, v->share);
        buf_printf(b, "\nshadow = %s\n", v->shadow ? "true" : "false");
        for (size_t k = 0; k < v->n_keys; k++) buf_printf(b, "%s = %s\n", v->keys[k].key, v->keys[k].value);
    }
}

/* ---- lines ---- */

const char *conf_line_name(const struct conf *c, size_t line)
{
    return line == 0 ? CONF_LINE_DEFAULT : c->variants[line - 1].name;
}

size_t conf_line_find(const struct conf *c, struct str name)
{
    for (size_t i = 0; i < conf_lines(c); i++)
        if (str_is(name, conf_line_name(c, i))) return i;
    return SIZE_MAX;
}

/* Shares change under a running scorer; a double is read and written whole. */
static double share_now(const struct conf_variant *v)
{
    double share;
    __atomic_load(&v->share, &share, __ATOMIC_RELAXED);
    return __atomic_load_n(&v->shadow, __ATOMIC_RELAXED) ? 0.0 : share;
}

double conf_line_share(const struct conf *c, size_t line, size_t in_charge)
{
    double rest = 1.0;
    if (line != in_charge) return line == 0 ? 0.0 : share_now(&c->variants[line - 1]);
    for (size_t i = 1; i < conf_lines(c); i++)
        if (i != in_charge) rest -= share_now(&c->variants[i - 1]);
    return rest;
}

bool conf_line_shadow(const struct conf *c, size_t line, size_t in_charge)
{
    return line > 0 && line != in_charge && __atomic_load_n(&c->variants[line - 1].shadow, __ATOMIC_RELAXED);
}

size_t conf_line_of_user(const struct conf *c, struct str user, size_t in_charge)
{
    double below = 0.0;
    if (!str_has(user) || c->n_variants == 0) return in_charge;
    const double at = hash_unit(hash_seeded(user.p, user.n, USER_SALT));
    for (size_t i = 1; i < conf_lines(c); i++) {
        below += share_now(&c->variants[i - 1]);
        if (at < below) return i;
    }
    return in_charge;
}

/* ---- reload ---- */

static bool same_keys(const struct conf_variant *a, const struct conf_variant *b)
{
    if (strcmp(a->name, b->name) != 0 || a->n_keys != b->n_keys) return false;
    for (size_t i = 0; i < a->n_keys; i++)
        if (strcmp(a->keys[i].key, b->keys[i].key) != 0 || strcmp(a->keys[i].value, b->keys[i].value) != 0)
            return false;
    return true;
}

uint32_t conf_variants_take_live(struct conf *c, const struct conf *fresh, bool *restart)
{
    uint32_t n = 0;
    *restart = c->n_variants != fresh->n_variants;
    for (size_t i = 0; i < c->n_variants && !*restart; i++) *restart = !same_keys(&c->variants[i], &fresh->variants[i]);
    for (size_t i = 0; i < c->n_variants && !*restart; i++) {
        struct conf_variant *v = &c->variants[i];
        const struct conf_variant *f = &fresh->variants[i];
        if (v->shadow == f->shadow && !(v->share < f->share) && !(v->share > f->share)) continue;
        log_info("reload", "key=variant.%s share=%g shadow=%s", v->name, f->share, f->shadow ? "true" : "false");
        double share = f->share;
        __atomic_store(&v->share, &share, __ATOMIC_RELAXED);
        __atomic_store_n(&v->shadow, f->shadow, __ATOMIC_RELAXED);
        n++;
    }
    return n;
}
