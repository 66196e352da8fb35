/* options.h - the command line of every subcommand: shared options, options of its own from a small table, help text.
 *
 * Shared are --config FILE, -o section.key=value, --help and --version.  The configuration is put together here in the
 * one order: default, file, environment, then -o and the command's own options that stand for keys, as they come.
 * Options may stand before and after arguments; "--" ends them; "-" is an argument.  Wrong usage is exit status 2.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H
#include "schemas/conf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cmd_option_kind {
    CMD_FLAG,  /* no argument; out: bool */
    CMD_TEXT,  /* out: const char *, into argv */
    CMD_REPEATED, /* text that may be given again; out: struct cmd_repeated */
    CMD_COUNT, /* whole number of 0 or more; out: uint64_t */
    CMD_DAYS,  /* the same, and may be written as in 30d */
    CMD_KEY,   /* stands for the configuration key `key`; no out */
};
#define CMD_REPEATED_MAX 16
struct cmd_repeated {
    const char *items[CMD_REPEATED_MAX]; /* into argv */
    size_t n, most;                   /* most: how many may be given, at most CMD_REPEATED_MAX; the caller's */
};
struct cmd_option {
    const char *name;     /* without "--" */
    const char *argument; /* what help calls its argument; NULL for a flag */
    enum cmd_option_kind kind;
    void *out;            /* keeps its value when the option is not given */
    const char *key;      /* CMD_KEY */
    const char *text;     /* one line of help */
};
struct cmd_usage {
    const char *command;   /* "replay" */
    const char *arguments; /* "LOG...", "" for none; shown in the usage line */
    const char *about;     /* one or more lines for help, each ended */
    const struct cmd_option *options;
    size_t n_options;
    const char *const *keys; /* configuration keys that help lists: "section.key", or "section." for all; NULL ends it */
    int least, most;         /* arguments; most < 0: any number */
    bool soft_config;        /* a bad configuration goes to conf_status and conf_err instead of exit status 2 */
};
struct cmd_line {
    struct conf *conf;         /* checked; the caller's: cmd_line_fini */
    const char *config_path;   /* of --config, or NULL */
    const char **args;         /* the arguments, in argv's memory */
    size_t n_args;
    enum status conf_status;   /* soft_config only */
    struct err conf_err;
    const struct cmd_usage *usage; /* as given to cmd_line_parse, for cmd_line_reread */
    int argc;
    char **argv;
};
#define CMD_GO_ON (-1)
/* Parses argv (argv[0] is the command's name).  CMD_GO_ON: *out is filled; else the exit status to return at once (0 after
 * --help and --version, 1 out of memory, 2 wrong usage, which was said on stderr).  *out needs cmd_line_fini either way. */
int cmd_line_parse(struct cmd_line *out, const struct cmd_usage *u, int argc, char **argv);
void cmd_line_fini(struct cmd_line *l);
/* The configuration once more: the same file and flags, the file and the environment as they are now; checked.  *out is the
 * caller's to free.  INVALID and others as conf_load.  line: a struct cmd_line whose usage is still alive. */
enum status cmd_line_reread(void *line, struct conf **out, struct err *e) MUST_CHECK;

/* "freshet COMMAND: <e's text>" on stderr; returns 1, the exit status of a failure. */
int cmd_failed(const char *command, const struct err *e);
/* Writes b to stdout and flushes; 0, or 1 after saying why not. */
int cmd_print(const char *command, const struct buf *b);
void cmd_version(void); /* name, version and what is built in, on stdout */
#endif
