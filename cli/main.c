/* main.c - `freshet COMMAND ...`: finds the command in the table and hands over. */
#include "cli/cmd.h"
#include "cli/options.h"
#include "schemas/conf_table.h"
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"replay", "the stream job over log files, as fast as the machine goes", cmd_replay},
    {"run", "the stream job: Kafka to learning to Redis", cmd_run},
    {"serve", "a scorer: newest weights from Redis, re-ranking over HTTP", cmd_serve},
    {"top", "terminal dashboard over Redis", cmd_top},
    {"embed", "texts on stdin to sentence vectors of the pretrained encoder", cmd_embed},
    {"tokenize", "texts on stdin to the ids of the model's tokenizer", cmd_tokenize},
    {"check", "configuration, logs, model, Kafka, Redis, rights: what is right and what to mend", cmd_check},
    {"convert", "logs of any preset to native JSON lines, or into a Kafka topic", cmd_convert},
    {"simulate", "a synthetic shop's log with known truth", cmd_simulate},
    {"model", "models and versions: inspect, export, versions, diff", cmd_model},
    {"fit", "a first model from a log: epochs with early stopping, then online from there", cmd_fit},
    {"worth", "is it worth it? live learning against frozen, daily, hourly, or other settings", cmd_worth},
    {"sweep", "settings tried on a log: chosen on early days, reported on late ones", cmd_sweep},
    {"bench", "what this machine reaches, with shares of its limits", cmd_bench},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static int print_help(FILE *to)
{
    (void)fprintf(to, "freshet learns from a shop's behaviour events while they happen, and re-ranks with what it learnt.\n\n"
                      "usage: freshet COMMAND [options]\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++) (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].about);
    (void)fprintf(to, "\nfreshet help COMMAND     a command's options and configuration keys\n"
                      "freshet --version        version and what is built in\n");
    return fflush(to) == 0 ? 0 : 1;
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    const struct command *best = &commands[0];
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const size_t d = conf_edit_distance(name, commands[i].name);
        if (d < least) least = d, best = &commands[i];
    }
    (void)fprintf(stderr, "freshet: unknown command '%s'; the nearest is '%s' (freshet --help lists all)\n", name, best->name);
    return 2;
}

static int help_for(const char *name)
{
    char word[] = "--help";
    const struct command *c = find(name);
    if (c == NULL) return unknown(name);
    char own[32];
    (void)snprintf(own, sizeof own, "%s", c->name);
    char *argv[] = {own, word, NULL};
    return c->run(2, argv);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)print_help(stderr);
        return 2;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return print_help(stdout);
    if (strcmp(word, "--version") == 0) {
        cmd_version();
        return 0;
    }
    if (strcmp(word, "help") == 0) return argc > 2 ? help_for(argv[2]) : print_help(stdout);
    const struct command *c = find(word);
    return c != NULL ? c->run(argc - 1, argv + 1) : unknown(word);
}
