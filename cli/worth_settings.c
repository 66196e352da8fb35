/* worth_settings.c - --what-if of `freshet worth`: which settings it asks about, and whether they can be compared at all. */
#include "cli/worth.h"
#include <stdio.h>
#include <string.h>

static enum status take_setting(struct cmd_worth_if *what, struct str text, struct err *e)
{
    if (text.n == 0) return STATUS_OK;
    if (what->n == CMD_WORTH_SETTINGS || text.n >= sizeof what->settings[0])
        return ERR_SET(e, STATUS_INVALID, "--what-if: more than %d settings, or one of over %zu bytes",
                       CMD_WORTH_SETTINGS, sizeof what->settings[0] - 1);
    char *own = what->settings[what->n++];
    memcpy(own, text.p, text.n);
    own[text.n] = '\0';
    if (strchr(own, '=') == NULL) return ERR_SET(e, STATUS_INVALID, "--what-if: '%s' is not key=value", own);
    return STATUS_OK;
}

static enum status split(struct cmd_worth_if *what, const char *text, struct err *e)
{
    for (const char *p = text; *p != '\0';) {
        const size_t n = strcspn(p, ";");
        const char *from = p, *to = p + n;
        while (from < to && *from == ' ') from++;
        while (to > from && to[-1] == ' ') to--;
        TRY(take_setting(what, (struct str){from, (size_t)(to - from)}, e));
        p += n + (p[n] == ';');
    }
    return what->n > 0 ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "--what-if '%s': no setting, as in key=value", text);
}

static const char *key_of(const char *setting, char out[192])
{
    (void)snprintf(out, 192, "%.*s", (int)strcspn(setting, "="), setting);
    return out;
}

/* The configuration with these settings is a valid one, and one that judges the same lists by the same labels. */
static enum status check(const struct cmd_worth_if *what, const struct conf *c, struct err *e)
{
    char key[192];
    struct conf *with = NULL;
    TRY(conf_line_new(&with, c, 0, e));
    enum status st = STATUS_OK;
    for (size_t i = 0; i < what->n && st == STATUS_OK; i++) {
        st = conf_set_option(with, what->settings[i], e);
        if (st == STATUS_OK && !conf_judges_alike(key_of(what->settings[i], key)))
            st = ERR_SET(
                e, STATUS_INVALID,
                "--what-if %s: this key changes which lists there are, how they are labelled or what is measured "
                "of them, so there is nothing to compare list by list; give it to both with -o %s",
                what->settings[i], what->settings[i]);
    }
    if (st == STATUS_OK) st = conf_check(with, e);
    conf_free(with);
    return st;
}

static enum status make_variant(struct cmd_worth_if *what, struct conf *c, size_t number, struct err *e)
{
    char key[192], name[224];
    for (size_t i = 0; i < what->n; i++)
        if (!conf_is_lines_own(key_of(what->settings[i], key))) return STATUS_OK;
    (void)snprintf(what->variant, sizeof what->variant, "what-if-%zu", number);
    for (size_t i = 0; i < what->n; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", what->variant, key_of(what->settings[i], key));
        TRY(conf_variant_set(c, name, strchr(what->settings[i], '=') + 1, e));
    }
    (void)snprintf(name, sizeof name, "%s.shadow", what->variant);
    return conf_variant_set(c, name, "true", e);
}

enum status cmd_worth_take_if(struct cmd_worth_ifs *w, struct conf *c, const char *text, struct err *e)
{
    if (w->n == CMD_WORTH_IFS)
        return ERR_SET(e, STATUS_INVALID, "--what-if %s: at most %d may be given", text, CMD_WORTH_IFS);
    struct cmd_worth_if *what = &w->items[w->n++];
    TRY(split(what, text, e));
    TRY(check(what, c, e));
    (void)snprintf(what->name, sizeof what->name, "what if");
    for (size_t i = 0; i < what->n; i++) {
        const size_t at = strlen(what->name);
        (void)snprintf(what->name + at, sizeof what->name - at, " %s", what->settings[i]);
    }
    return make_variant(what, c, w->n, e);
}
