/* sweep_space.c - what is tried: keys with their values, and the trials drawn from them. */
#include "base/rand.h"
#include "base/str.h"
#include "cli/sweep.h"
#include "schemas/conf_variant.h"
#include <stdio.h>
#include <string.h>

static struct str trimmed(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\n')) from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\n')) to--;
    return (struct str){from, (size_t)(to - from)};
}

/* Does a configuration take it? */
static enum status try_value(const char *key, const char *value, struct err *e)
{
    struct conf *c = NULL;
    enum status st = conf_new(&c, e);
    if (st == STATUS_OK) st = conf_set(c, key, value, e);
    conf_free(c);
    return st;
}

static enum status add_value(struct cmd_sweep_key *k, struct str value, struct err *e)
{
    if (k->n == CMD_SWEEP_VALUES || value.n >= sizeof k->values[0])
        return ERR_SET(e, STATUS_INVALID, "--try: %s has more than %d values, or one of over %zu bytes", k->name,
                       CMD_SWEEP_VALUES, sizeof k->values[0] - 1);
    memcpy(k->values[k->n], value.p, value.n);
    k->values[k->n][value.n] = '\0';
    TRY(try_value(k->name, k->values[k->n], e));
    k->n++;
    return STATUS_OK;
}

/* Figures are compared across trials, so all must judge the same lists by the same labels. */
static enum status check_key(const struct cmd_sweep *s, const char *name, struct err *e)
{
    for (size_t i = 0; i < s->n_keys; i++)
        if (strcmp(s->keys[i].name, name) == 0)
            return ERR_SET(e, STATUS_INVALID, "--try names %s twice; give all its values at once, as in %s=a|b", name,
                           name);
    if (conf_judges_alike(name)) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "--try %s: this key changes which lists there are, how they are labelled or what is measured of "
                   "them, so trials of it can't be compared; settle it by what you need and give it to all with "
                   "-o %s=VALUE",
                   name, name);
}

/* "key=a|b|c" */
static enum status add_key(struct cmd_sweep *s, struct str text, struct err *e)
{
    const char *eq = memchr(text.p, '=', text.n), *end = text.p + text.n;
    if (eq == NULL) return ERR_SET(e, STATUS_INVALID, "--try: '" STR_FMT "' is not key=value|value", STR_ARG(text));
    const struct str name = trimmed(text.p, eq);
    if (s->n_keys == CMD_SWEEP_KEYS || name.n == 0 || name.n >= sizeof s->keys[0].name)
        return ERR_SET(e, STATUS_INVALID, "--try: more than %d keys, or '" STR_FMT "' is no key", CMD_SWEEP_KEYS,
                       STR_ARG(name));
    struct cmd_sweep_key *k = &s->keys[s->n_keys];
    *k = (struct cmd_sweep_key){0};
    memcpy(k->name, name.p, name.n);
    for (const char *p = eq + 1; p <= end;) {
        const char *bar = memchr(p, '|', (size_t)(end - p));
        TRY(add_value(k, trimmed(p, bar != NULL ? bar : end), e));
        p = bar != NULL ? bar + 1 : end + 1;
    }
    TRY(check_key(s, k->name, e));
    s->n_keys++;
    return STATUS_OK;
}

enum status cmd_sweep_parse(struct cmd_sweep *s, const char *text, struct err *e)
{
    for (const char *p = text; *p != '\0';) {
        const size_t n = strcspn(p, ";");
        const struct str one = trimmed(p, p + n);
        if (one.n > 0) TRY(add_key(s, one, e));
        p += n + (p[n] == ';');
    }
    return s->n_keys > 0 ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "--try names no key; as in 'train.seed=1|2|3'");
}

static size_t combinations(const struct cmd_sweep *s)
{
    size_t n = 1;
    for (size_t k = 0; k < s->n_keys; k++)
        if (n <= SIZE_MAX / CMD_SWEEP_VALUES) n *= s->keys[k].n;
    return n;
}

static void set_trial(const struct cmd_sweep *s, struct cmd_sweep_trial *t, size_t which)
{
    for (size_t k = 0; k < s->n_keys; k++) {
        t->value[k] = which % s->keys[k].n;
        which /= s->keys[k].n;
    }
}

/* Selection sampling (Knuth 3.4.2 S) where there are more combinations than trials. */
void cmd_sweep_draw(struct cmd_sweep *s, size_t most)
{
    struct rand r;
    const size_t all = combinations(s), room = CMD_SWEEP_TRIALS - 1;
    size_t want = most < room ? most : room;
    if (want > all) want = all;
    rand_init(&r, (struct rand_key){.seed = s->seed, .purpose = RAND_SWEEP});
    s->n_trials = 1;
    for (size_t which = 0; s->n_trials <= want; which++)
        if (rand_below(&r, all - which) < want + 1 - s->n_trials) set_trial(s, &s->trials[s->n_trials++], which);
}

void cmd_sweep_name(struct buf *b, const struct cmd_sweep *s, size_t trial)
{
    if (trial == 0) buf_printf(b, "as configured");
    for (size_t k = 0; k < s->n_keys && trial > 0; k++)
        buf_printf(b, "%s%s=%s", k > 0 ? " " : "", s->keys[k].name, s->keys[k].values[s->trials[trial].value[k]]);
}
