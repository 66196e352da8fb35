/* conf.c - defaults and setting of single keys, driven by the table of conf.h.
 *
 * CONF_LIST becomes one array of descriptors (conf_keys); parsing, ranges, dump and documents are loops over it.  Files
 * and environment are read in conf_file.c, what is printed comes from conf_document.c, rules that a range cannot
 * express stand in conf_check.c.
 */
#include "schemas/conf.h"
#include "base/mem.h"
#include "schemas/conf_table.h"
#include "schemas/conf_variant.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define X(field, key, kind, def, lo, hi, unit, flags, text) .field = def,
static const struct conf defaults = {CONF_LIST(X)};
#undef X

#define X(field, key, kind, def, lo, hi, unit, flags, text)                                                            \
    {key, CONF_KIND_##kind, offsetof(struct conf, field), lo, hi, unit, flags, text},
const struct conf_key conf_keys[] = {CONF_LIST(X)};
#undef X
const size_t conf_n_keys = sizeof conf_keys / sizeof conf_keys[0];

const struct conf *conf_defaults(void)
{
    return &defaults;
}

static const struct {
    const char *name;
    enum conf_label label;
} builtin[EVENT_TYPES_BUILTIN] = {
    [EVENT_VIEW] = {"view", CONF_LABEL_NONE},         [EVENT_CLICK] = {"click", CONF_LABEL_POSITIVE},
    [EVENT_CART] = {"cart", CONF_LABEL_POSITIVE},     [EVENT_UNCART] = {"uncart", CONF_LABEL_NEGATIVE},
    [EVENT_LIKE] = {"like", CONF_LABEL_POSITIVE},     [EVENT_DISLIKE] = {"dislike", CONF_LABEL_NEGATIVE},
    [EVENT_RATING] = {"rating", CONF_LABEL_NONE},     [EVENT_PURCHASE] = {"purchase", CONF_LABEL_POSITIVE},
    [EVENT_REFUND] = {"refund", CONF_LABEL_NEGATIVE},
};

const char *conf_builtin_name(int type)
{
    return builtin[type].name;
}

enum conf_label conf_builtin_label(int type)
{
    return builtin[type].label;
}

enum status conf_new(struct conf **out, struct err *e)
{
    *out = NULL;
    struct conf *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return ERR_SET(e, STATUS_OOM, "configuration: out of memory");
    *c = defaults;
    for (int t = 0; t < EVENT_TYPES_BUILTIN; t++) {
        memcpy(c->types[t].name, builtin[t].name, strlen(builtin[t].name) + 1);
        c->types[t].label = builtin[t].label;
        c->types[t].weight = 1.0;
    }
    c->n_types = EVENT_TYPES_BUILTIN;
    *out = c;
    return STATUS_OK;
}

static void free_kafka(struct conf *c)
{
    for (size_t i = 0; i < c->n_kafka; i++) {
        mem_free(c->kafka[i].key);
        mem_free(c->kafka[i].value);
    }
    mem_free(c->kafka);
    c->kafka = NULL;
    c->n_kafka = 0;
}

void conf_free(struct conf *c)
{
    if (c == NULL) return;
    free_kafka(c);
    conf_variants_free(c);
    mem_free(c);
}

/* ---- values ---- */

static enum status set_int(const struct conf_key *k, const char *text, int64_t *out, struct err *e)
{
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (end == text || *end != 0)
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' is not a whole number; allowed are %.0f to %.0f%s%s", k->key, text,
                       k->lo, k->hi, *k->unit ? " " : "", k->unit);
    if (errno != 0 || (double)v < k->lo || (double)v > k->hi)
        return ERR_SET(e, STATUS_INVALID, "%s: %s is out of range; allowed are %.0f to %.0f%s%s", k->key, text, k->lo,
                       k->hi, *k->unit ? " " : "", k->unit);
    *out = v;
    return STATUS_OK;
}

/* Decimal notation only: strtod also takes hexadecimal, inf and nan. */
static bool plain_number(const char *text, double *out)
{
    char *end;
    if (strspn(text, "0123456789+-.eE") != strlen(text)) return false;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*out);
}

static enum status set_num(const struct conf_key *k, const char *text, double *out, struct err *e)
{
    double v;
    if (!plain_number(text, &v))
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' is not a finite number; allowed are %g to %g%s%s", k->key, text,
                       k->lo, k->hi, *k->unit ? " " : "", k->unit);
    if (v < k->lo || v > k->hi)
        return ERR_SET(e, STATUS_INVALID, "%s: %s is out of range; allowed are %g to %g%s%s", k->key, text, k->lo,
                       k->hi, *k->unit ? " " : "", k->unit);
    *out = v;
    return STATUS_OK;
}

static enum status set_bool(const struct conf_key *k, const char *text, bool *out, struct err *e)
{
    const bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' is neither true nor false", k->key, text);
    *out = yes;
    return STATUS_OK;
}

static bool choice_has(const char *choices, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = choices; n > 0 && *at != 0;) {
        const size_t len = strcspn(at, "|");
        if (len == n && memcmp(at, word, n) == 0) return true;
        at += len;
        at += *at == '|';
    }
    return false;
}

static enum status set_word(const struct conf_key *k, const char *text, char *out, struct err *e)
{
    if (!choice_has(k->unit, text))
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' is not one of %s", k->key, text, k->unit);
    memcpy(out, text, strlen(text) + 1);
    return STATUS_OK;
}

static enum status set_text(const struct conf_key *k, const char *text, char *out, struct err *e)
{
    const size_t n = strlen(text);
    if ((double)n > k->hi)
        return ERR_SET(e, STATUS_INVALID, "%s: a text of %zu bytes is longer than %.0f bytes", k->key, n, k->hi);
    TRY(conf_check_text(k->key, text, e));
    memset(out, 0, CONF_TEXT);
    memcpy(out, text, n);
    return STATUS_OK;
}

static enum status set_value(struct conf *c, const struct conf_key *k, const char *text, struct err *e)
{
    void *at = (char *)c + k->offset;
    switch (k->kind) {
    case CONF_KIND_INT: return set_int(k, text, at, e);
    case CONF_KIND_NUM: return set_num(k, text, at, e);
    case CONF_KIND_BOOL: return set_bool(k, text, at, e);
    case CONF_KIND_WORD: return set_word(k, text, at, e);
    case CONF_KIND_TEXT: break;
    }
    return set_text(k, text, at, e);
}

/* ---- open families ---- */

static enum status set_kafka(struct conf *c, const char *key, const char *value, struct err *e)
{
    if (*key == 0) return ERR_SET(e, STATUS_INVALID, "kafka.: a librdkafka property name must follow the dot");
    char *copy = mem_strdup(value);
    if (copy == NULL) goto oom;
    for (size_t i = 0; i < c->n_kafka; i++) {
        if (strcmp(c->kafka[i].key, key) != 0) continue;
        mem_free(c->kafka[i].value);
        c->kafka[i].value = copy;
        return STATUS_OK;
    }
    struct conf_pair *pairs = mem_realloc(c->kafka, c->n_kafka + 1, sizeof *pairs);
    if (pairs != NULL) c->kafka = pairs;
    char *name = pairs != NULL ? mem_strdup(key) : NULL;
    if (name == NULL) goto oom;
    c->kafka[c->n_kafka++] = (struct conf_pair){name, copy};
    return STATUS_OK;
oom:
    mem_free(copy);
    return ERR_SET(e, STATUS_OOM, "kafka.%s: out of memory", key);
}

int conf_type_find(const struct conf *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_types; i++)
        if (str_is(name, c->types[i].name)) return (int)i;
    return -1;
}

static enum status type_of(struct conf *c, const char *key, struct str name, struct conf_type **out, struct err *e)
{
    const int there = conf_type_find(c, name);
    if (there >= 0) {
        *out = &c->types[there];
        return STATUS_OK;
    }
    TRY(conf_check_type_name(key, name, e));
    if (c->n_types >= EVENT_TYPES_MAX)
        return ERR_SET(e, STATUS_INVALID, "%s: there are %d event types already, which is the most", key,
                       EVENT_TYPES_MAX);
    struct conf_type *t = &c->types[c->n_types];
    *t = (struct conf_type){.weight = 1.0};
    memcpy(t->name, name.p, name.n);
    *out = t;
    return STATUS_OK;
}

static enum status set_label(struct conf_type *t, const char *key, const char *value, struct err *e)
{
    for (int l = CONF_LABEL_NONE; l <= CONF_LABEL_NEGATIVE; l++) {
        if (strcmp(value, conf_label_name((enum conf_label)l)) != 0) continue;
        t->label = (enum conf_label)l;
        return STATUS_OK;
    }
    return ERR_SET(e, STATUS_INVALID, "%s: '%s' is not one of none|positive|negative", key, value);
}

/* key is "type.NAME.label", ".weight" or ".template"; NAME may hold dots. */
static enum status set_type(struct conf *c, const char *key, const char *value, struct err *e)
{
    const char *name = key + strlen("type."), *dot = strrchr(name, '.');
    struct conf_type *t = NULL;
    if (dot == NULL || dot == name)
        return ERR_SET(e, STATUS_INVALID, "%s: expected type.NAME.label, type.NAME.weight or type.NAME.template", key);
    const char *what = dot + 1;
    const struct conf_key weight = {key, CONF_KIND_NUM, 0, 0.0, 1000.0, "", "S", ""};
    const struct conf_key text = {key, CONF_KIND_TEXT, 0, 0.0, CONF_TEXT - 1, "", "S", ""};
    TRY(type_of(c, key, (struct str){name, (size_t)(dot - name)}, &t, e));
    enum status st;
    if (strcmp(what, "label") == 0)
        st = set_label(t, key, value, e);
    else if (strcmp(what, "weight") == 0)
        st = set_num(&weight, value, &t->weight, e);
    else if (strcmp(what, "template") == 0)
        st = set_text(&text, value, t->template_text, e);
    else
        return ERR_SET(e, STATUS_INVALID, "%s: unknown key; a type has label, weight and template", key);
    if (st == STATUS_OK && t == &c->types[c->n_types]) c->n_types++;
    return st;
}

/* ---- keys ---- */

static enum status unknown_key(const char *key, struct err *e)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < conf_n_keys; i++) {
        const size_t d = conf_edit_distance(key, conf_keys[i].key);
        if (d < least) least = d, best = conf_keys[i].key;
    }
    return ERR_SET(e, STATUS_INVALID, "unknown key '%s'; the nearest is '%s' (CONFIG.md lists all)", key, best);
}

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

enum status conf_set(struct conf *c, const char *key, const char *value, struct err *e)
{
    TRY(conf_check_line(key, value, e));
    if (starts(key, "kafka.")) return set_kafka(c, key + strlen("kafka."), value, e);
    if (starts(key, "variant.")) return conf_variant_set(c, key + strlen("variant."), value, e);
    if (starts(key, "type.")) return set_type(c, key, value, e);
    for (size_t i = 0; i < conf_n_keys; i++)
        if (strcmp(conf_keys[i].key, key) == 0) return set_value(c, &conf_keys[i], value, e);
    return unknown_key(key, e);
}

enum status conf_set_option(struct conf *c, const char *option, struct err *e)
{
    char key[CONF_KEY_MAX];
    const char *eq = strchr(option, '=');
    if (eq == NULL || eq == option)
        return ERR_SET(e, STATUS_INVALID, "option '%s': expected section.key=value", option);
    if ((size_t)(eq - option) >= sizeof key)
        return ERR_SET(e, STATUS_INVALID, "option '%.40s...': the key is longer than %d bytes", option,
                       CONF_KEY_MAX - 1);
    memcpy(key, option, (size_t)(eq - option));
    key[eq - option] = 0;
    return conf_set(c, key, eq + 1, e);
}

static enum status reset(struct conf *c, const struct conf_key *k, struct err *e)
{
    struct buf text = {0};
    conf_value_text(&text, conf_defaults(), k);
    buf_u8(&text, 0);
    enum status st = buf_status(&text, e);
    if (st == STATUS_OK) st = set_value(c, k, (const char *)text.p, e);
    buf_fini(&text);
    return st;
}

enum status conf_reset(struct conf *c, const char *beginning, struct err *e)
{
    const size_t n = strlen(beginning);
    if (strcmp(beginning, "kafka.") == 0) free_kafka(c);
    if (strcmp(beginning, "variant.") == 0) conf_variants_free(c);
    for (size_t i = 0; i < conf_n_keys; i++)
        if (strncmp(conf_keys[i].key, beginning, n) == 0) TRY(reset(c, &conf_keys[i], e));
    return STATUS_OK;
}
