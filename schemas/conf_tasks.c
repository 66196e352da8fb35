/* conf_tasks.c - train.tasks and rank.utility: names of behaviour types, and what each is worth. */
#include "schemas/conf.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Empty words are left out. */
static bool next(const char **at, struct str *word)
{
    while (conf_list_next(at, word))
        if (word->n > 0) return true;
    return false;
}

uint32_t conf_tasks(const struct conf *c, uint8_t types[CONF_TASKS_MAX])
{
    struct str w;
    uint32_t n = 0;
    for (const char *at = c->train_tasks; n < CONF_TASKS_MAX && next(&at, &w);) {
        const int type = conf_type_find(c, w);
        if (type >= 0) types[n++] = (uint8_t)type;
    }
    return n;
}

/* "name=number": the name, and the number or NaN. */
static double number_of(struct str *pair)
{
    char text[64];
    const char *equals = memchr(pair->p, '=', pair->n);
    if (equals == NULL) return NAN;
    const size_t n = pair->n - (size_t)(equals + 1 - pair->p);
    pair->n = (size_t)(equals - pair->p);
    if (n == 0 || n >= sizeof text) return NAN;
    memcpy(text, equals + 1, n);
    text[n] = 0;
    char *end;
    const double x = strtod(text, &end);
    return *end == 0 ? x : NAN;
}

bool conf_utility(const struct conf *c, double weights[CONF_TASKS_MAX])
{
    uint8_t types[CONF_TASKS_MAX];
    const uint32_t n = conf_tasks(c, types);
    struct str w;
    for (uint32_t t = 0; t < CONF_TASKS_MAX; t++) weights[t] = 0;
    for (const char *at = c->rank_utility; next(&at, &w);) {
        const double x = number_of(&w);
        for (uint32_t t = 0; t < n; t++)
            if (str_is(w, c->types[types[t]].name)) weights[t] = x;
    }
    return c->rank_utility[0] != 0;
}

static enum status check_task(const struct conf *c, struct str w, uint32_t *seen, struct err *e)
{
    const int type = conf_type_find(c, w);
    if (type < 0)
        return ERR_SET(e, STATUS_INVALID,
                       "train.tasks: '" STR_FMT "' is no behaviour type; declare it by type." STR_FMT
                       ".label, or take it out",
                       STR_ARG(w), STR_ARG(w));
    if (c->types[type].label == CONF_LABEL_NONE)
        return ERR_SET(e, STATUS_INVALID,
                       "train.tasks: type." STR_FMT ".label is none; a task needs positive or negative", STR_ARG(w));
    if ((*seen >> type & 1) != 0)
        return ERR_SET(e, STATUS_INVALID, "train.tasks: '" STR_FMT "' stands there twice", STR_ARG(w));
    *seen |= UINT32_C(1) << type;
    return STATUS_OK;
}

static enum status check_worth(const struct conf *c, struct str w, uint32_t *seen, struct err *e)
{
    const struct str whole = w;
    uint8_t types[CONF_TASKS_MAX];
    const uint32_t n = conf_tasks(c, types);
    if (!isfinite(number_of(&w)))
        return ERR_SET(e, STATUS_INVALID, "rank.utility: '" STR_FMT "' is not of the form task=number", STR_ARG(whole));
    for (uint32_t t = 0; t < n; t++) {
        if (!str_is(w, c->types[types[t]].name)) continue;
        if ((*seen >> t & 1) != 0)
            return ERR_SET(e, STATUS_INVALID, "rank.utility: '" STR_FMT "' stands there twice", STR_ARG(w));
        *seen |= UINT32_C(1) << t;
        return STATUS_OK;
    }
    return ERR_SET(e, STATUS_INVALID, "rank.utility: '" STR_FMT "' is not among train.tasks=%s", STR_ARG(w),
                   c->train_tasks);
}

enum status conf_check_tasks(const struct conf *c, struct err *e)
{
    struct str w;
    uint32_t seen = 0, worth = 0, n = 0;
    for (const char *at = c->train_tasks; next(&at, &w); n++) TRY(check_task(c, w, &seen, e));
    if (conf_type_find(c, str_from(c->eval_conversion)) < 0)
        return ERR_SET(e, STATUS_INVALID, "eval.conversion: '%s' is no behaviour type; declare it by type.%s.label",
                       c->eval_conversion, c->eval_conversion);
    if (n > CONF_TASKS_MAX) return ERR_SET(e, STATUS_INVALID, "train.tasks: %u tasks, at most %d", n, CONF_TASKS_MAX);
    for (const char *at = c->rank_utility; next(&at, &w);) TRY(check_worth(c, w, &worth, e));
    if (c->rank_utility[0] != 0 && strcmp(c->serving_explore, "none") != 0)
        return ERR_SET(e, STATUS_INVALID,
                       "rank.utility with serving.explore=%s: what is drawn is drawn by the one label's logit; set "
                       "serving.explore=none, or rank.utility to nothing",
                       c->serving_explore);
    if (n > 0 && strcmp(c->join_loss, "wait") != 0)
        return ERR_SET(e, STATUS_INVALID,
                       "train.tasks and join.loss=%s: the weights of late labels are the one label's; "
                       "set join.loss=wait, or train.tasks to nothing",
                       c->join_loss);
    return STATUS_OK;
}
