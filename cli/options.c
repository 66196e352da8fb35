/* options.c - parsing by the table of the command, in two walks: first --config and --help, then what stands above them. */
#include "cli/options.h"
#include "base/mem.h"
#include "schemas/conf_table.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64

static const struct cmd_option shared[] = {
    {"config", "FILE", CMD_TEXT, NULL, NULL, "configuration file (INI); CONFIG.md lists all keys"},
    {"o", "section.key=value", CMD_TEXT, NULL, NULL, "sets one configuration key; may be given again"},
    {"help", NULL, CMD_FLAG, NULL, NULL, "this text"},
    {"version", NULL, CMD_FLAG, NULL, NULL, "version and what is built in"},
};
#define N_SHARED (sizeof shared / sizeof *shared)

/* One option as it stands in argv. */
struct given {
    const struct cmd_option *option;
    const char *value; /* NULL for a flag */
};
struct walk {
    const struct cmd_usage *u;
    int argc, at;
    char **argv;
    bool ended; /* "--" was met */
    struct err err;
};

int cmd_failed(const char *command, const struct err *e)
{
    (void)fprintf(stderr, "freshet %s: %s\n", command, e->text);
    return 1;
}

int cmd_print(const char *command, const struct buf *b)
{
    struct err e = {0};
    if (buf_status(b, &e) != STATUS_OK) return cmd_failed(command, &e);
    if (fwrite(b->p, 1, b->n, stdout) == b->n && fflush(stdout) == 0) return 0;
    (void)ERR_SET(&e, STATUS_IO, "cannot write to stdout: %s", strerror(errno));
    return cmd_failed(command, &e);
}

void cmd_version(void)
{
    (void)printf("freshet " FRESHET_VERSION "\n%skafka %sredis %slmdb %shttp %scuda %ssystemd\n", FRESHET_WITH_KAFKA ? "+" : "-",
                 FRESHET_WITH_REDIS ? "+" : "-", FRESHET_WITH_LMDB ? "+" : "-", FRESHET_WITH_HTTP ? "+" : "-",
                 FRESHET_WITH_CUDA ? "+" : "-", FRESHET_WITH_SYSTEMD ? "+" : "-");
}

/* ---- walking argv ---- */

static const struct cmd_option *option_at(const struct cmd_usage *u, size_t i)
{
    if (i < u->n_options) return &u->options[i];
    return i - u->n_options < N_SHARED ? &shared[i - u->n_options] : NULL;
}

static const struct cmd_option *find(const struct cmd_usage *u, struct str name)
{
    const struct cmd_option *o;
    for (size_t i = 0; (o = option_at(u, i)) != NULL; i++)
        if (str_is(name, o->name)) return o;
    return NULL;
}

static enum status unknown_option(struct walk *w, struct str name)
{
    const struct cmd_option *o, *best = &shared[0];
    size_t least = SIZE_MAX;
    char text[NAME_MAX_BYTES] = "";
    (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(name));
    for (size_t i = 0; (o = option_at(w->u, i)) != NULL; i++) {
        const size_t d = conf_edit_distance(text, o->name);
        if (d < least) least = d, best = o;
    }
    return ERR_SET(&w->err, STATUS_INVALID, "unknown option %s; the nearest is --%s (--help lists all)", w->argv[w->at],
                   best->name);
}

/* The option at w->at, with its value; moves on past both. */
static enum status take_option(struct walk *w, struct given *g)
{
    const char *text = w->argv[w->at];
    const bool is_long = text[1] == '-';
    const char *value = NULL;
    struct str name = is_long ? str_from(text + 2) : (struct str){text + 1, 1};
    if (is_long) {
        const char *eq = strchr(text, '=');
        if (eq != NULL) name.n = (size_t)(eq - name.p), value = eq + 1;
    } else if (text[1] == 'h' && text[2] == 0) {
        name = STR("help");
    } else if (text[2] != 0) {
        value = text + 2;
    }
    g->option = is_long && str_is(name, "o") ? NULL : find(w->u, name);
    if (g->option == NULL) return unknown_option(w, name);
    w->at++;
    if (g->option->argument == NULL && value != NULL)
        return ERR_SET(&w->err, STATUS_INVALID, "%s: --%s takes no value", text, g->option->name);
    if (g->option->argument != NULL && value == NULL) {
        if (w->at >= w->argc)
            return ERR_SET(&w->err, STATUS_INVALID, "%s needs a value: %s", text, g->option->argument);
        value = w->argv[w->at++];
    }
    g->value = value;
    return STATUS_OK;
}

/* The next option, or argument (option NULL); END after the last. */
static enum status next(struct walk *w, struct given *g)
{
    if (w->at < w->argc && !w->ended && strcmp(w->argv[w->at], "--") == 0) {
        w->ended = true;
        w->at++;
    }
    if (w->at >= w->argc) return STATUS_END;
    const char *text = w->argv[w->at];
    if (!w->ended && text[0] == '-' && text[1] != 0) return take_option(w, g);
    *g = (struct given){NULL, text};
    w->at++;
    return STATUS_OK;
}

static enum status set_count(const struct given *g, struct err *e)
{
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(g->value, &end, 10);
    if (g->option->kind == CMD_DAYS && end > g->value && strcmp(end, "d") == 0) end++;
    if (end == g->value || *end != 0 || errno != 0 || strchr(g->value, '-') != NULL)
        return ERR_SET(e, STATUS_INVALID, "--%s: '%s' is not a whole number of 0 or more", g->option->name, g->value);
    *(uint64_t *)g->option->out = v;
    return STATUS_OK;
}

static enum status add_text(const struct given *g, struct err *e)
{
    struct cmd_repeated *t = g->option->out;
    if (t->n == t->most)
        return ERR_SET(e, STATUS_INVALID, "--%s %s: at most %zu may be given", g->option->name, g->value, t->most);
    t->items[t->n++] = g->value;
    return STATUS_OK;
}

/* First walk: everything that is not configuration. */
static enum status read_plain(struct walk *w, struct cmd_line *l, bool *help, bool *version)
{
    struct given g;
    enum status st;
    while ((st = next(w, &g)) == STATUS_OK) {
        if (g.option == NULL)
            l->args[l->n_args++] = g.value;
        else if (g.option == &shared[0])
            l->config_path = g.value;
        else if (g.option == &shared[2])
            *help = true;
        else if (g.option == &shared[3])
            *version = true;
        else if (g.option->kind == CMD_FLAG)
            *(bool *)g.option->out = true;
        else if (g.option->kind == CMD_COUNT || g.option->kind == CMD_DAYS)
            TRY(set_count(&g, &w->err));
        else if (g.option->kind == CMD_REPEATED)
            TRY(add_text(&g, &w->err));
        else if (g.option->kind == CMD_TEXT && g.option->out != NULL)
            *(const char **)g.option->out = g.value;
    }
    return st == STATUS_END ? STATUS_OK : st;
}

/* Second walk: -o and options that stand for keys, in the order in which they came. */
static enum status read_keys(struct walk *w, struct conf *c)
{
    struct given g;
    enum status st;
    while ((st = next(w, &g)) == STATUS_OK) {
        if (g.option == &shared[1])
            TRY(conf_set_option(c, g.value, &w->err));
        else if (g.option != NULL && g.option->kind == CMD_KEY)
            TRY(conf_set(c, g.option->key, g.value, &w->err));
    }
    return st == STATUS_END ? STATUS_OK : st;
}

/* ---- help ---- */

/* "  --name ARGUMENT  text", the text at one column. */
static void put_option(struct buf *b, const struct cmd_option *o)
{
    const size_t start = b->n;
    buf_printf(b, o->name[1] == 0 ? "  -%s" : "  --%s", o->name);
    if (o->argument != NULL) buf_printf(b, " %s", o->argument);
    const size_t used = b->n - start;
    if (used > 24)
        buf_printf(b, "\n%26s%s", "", o->text);
    else
        buf_printf(b, "%*s%s", (int)(26 - used), "", o->text);
    if (o->kind == CMD_KEY) buf_printf(b, " (%s)", o->key);
    buf_u8(b, '\n');
}

static bool is_listed(const char *const *keys, const char *key)
{
    for (; keys != NULL && *keys != NULL; keys++) {
        const size_t n = strlen(*keys);
        if (n > 0 && (*keys)[n - 1] == '.' ? strncmp(key, *keys, n) == 0 : strcmp(key, *keys) == 0) return true;
    }
    return false;
}

static void put_keys(struct buf *b, const struct cmd_usage *u)
{
    if (u->keys == NULL) return;
    buf_printf(b, "\nConfiguration keys that matter here (default in brackets):\n");
    for (size_t i = 0; i < conf_n_keys; i++) {
        if (!is_listed(u->keys, conf_keys[i].key)) continue;
        buf_printf(b, "  %-28s %s [", conf_keys[i].key, conf_keys[i].text);
        conf_value_text(b, conf_defaults(), &conf_keys[i]);
        buf_printf(b, "%s%s]\n", conf_keys[i].kind != CONF_KIND_WORD && *conf_keys[i].unit ? " " : "",
                   conf_keys[i].kind != CONF_KIND_WORD ? conf_keys[i].unit : "");
    }
}

static int print_help(const struct cmd_usage *u)
{
    struct buf b = {0};
    const struct cmd_option *o;
    buf_printf(&b, "usage: freshet %s [options]%s%s\n\n%s\nOptions:\n", u->command, *u->arguments ? " " : "",
               u->arguments, u->about);
    for (size_t i = 0; (o = option_at(u, i)) != NULL; i++)
        if (find(u, str_from(o->name)) == o) put_option(&b, o); /* a command's own option hides the shared one */
    put_keys(&b, u);
    buf_printf(&b, "\nExit status: 0 good, 1 failed, 2 wrong usage.\n");
    const int rc = cmd_print(u->command, &b);
    buf_fini(&b);
    return rc;
}

/* ---- all together ---- */

/* The first failure is what is told; the later, stronger sources are still read, since `check` goes on with the rest. */
static enum status build_conf(struct conf **out, const char *config_path, struct walk *w)
{
    struct err first = {0}, *e = &w->err;
    TRY(conf_new(out, e));
    if (config_path != NULL && conf_load(*out, config_path, e) != STATUS_OK) first = *e;
    if (conf_load_environment(*out, e) != STATUS_OK && first.code == STATUS_OK) first = *e;
    if (read_keys(w, *out) != STATUS_OK && first.code == STATUS_OK) first = *e;
    if (first.code == STATUS_OK) return conf_check(*out, e);
    *e = first;
    return first.code;
}

enum status cmd_line_reread(void *line, struct conf **out, struct err *e)
{
    const struct cmd_line *l = line;
    struct walk w = {.u = l->usage, .argc = l->argc, .argv = l->argv, .at = 1};
    const enum status st = build_conf(out, l->config_path, &w);
    if (st == STATUS_OK) return STATUS_OK;
    conf_free(*out);
    *out = NULL;
    if (e != NULL) *e = w.err;
    return st;
}

static enum status check_count(const struct cmd_usage *u, const struct cmd_line *l, struct err *e)
{
    if (l->n_args < (size_t)u->least) return ERR_SET(e, STATUS_INVALID, "%s is missing", u->arguments);
    if (u->most >= 0 && l->n_args > (size_t)u->most)
        return ERR_SET(e, STATUS_INVALID, "unexpected argument '%s'", l->args[u->most]);
    return STATUS_OK;
}

static int wrong_usage(const struct cmd_usage *u, const struct err *e)
{
    (void)cmd_failed(u->command, e);
    if (e->code == STATUS_OOM) return 1;
    (void)fprintf(stderr, "see: freshet %s --help\n", u->command);
    return 2;
}

int cmd_line_parse(struct cmd_line *out, const struct cmd_usage *u, int argc, char **argv)
{
    bool help = false, version = false;
    struct walk first = {.u = u, .argc = argc, .argv = argv, .at = 1}, second = first;
    *out = (struct cmd_line){.usage = u, .argc = argc, .argv = argv};
    out->args = mem_calloc((size_t)argc, sizeof *out->args);
    if (out->args == NULL) {
        (void)ERR_SET(&first.err, STATUS_OOM, "out of memory");
        return wrong_usage(u, &first.err);
    }
    enum status st = read_plain(&first, out, &help, &version);
    if (st != STATUS_OK) return wrong_usage(u, &first.err);
    if (help) return print_help(u);
    if (version) {
        cmd_version();
        return 0;
    }
    if (check_count(u, out, &first.err) != STATUS_OK) return wrong_usage(u, &first.err);
    st = build_conf(&out->conf, out->config_path, &second);
    if (st == STATUS_OK) return CMD_GO_ON;
    if (!u->soft_config || st == STATUS_OOM) return wrong_usage(u, &second.err);
    out->conf_status = st;
    out->conf_err = second.err;
    return CMD_GO_ON;
}

void cmd_line_fini(struct cmd_line *l)
{
    conf_free(l->conf);
    mem_free(l->args);
    *l = (struct cmd_line){0};
}
