/* cmd_model.c - `freshet model SUBCOMMAND`: finds the subcommand and hands over. */
#include "cli/cmd.h"
#include "cli/model.h"
#include "cli/options.h"
#include <stdio.h>
#include <string.h>

static const struct sub {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} subs[] = {
    {"inspect", "what a model folder, state folder, weight file or safetensors file holds", cmd_model_inspect},
    {"export", "the learnt model as a Hugging Face folder", cmd_model_export},
    {"versions", "versions in a state folder and in Redis, and which is in force", cmd_model_versions},
    {"diff", "which tensors differ between two versions, and by how much", cmd_model_diff},
    {"rollback", "the line goes back to its blessed version, or to one that is kept", cmd_model_rollback},
    {"promote", "the line as it is becomes the blessed version", cmd_model_promote},
    {"pin", "one version stays published while learning goes on", cmd_model_pin},
    {"unpin", "the newest version is published again", cmd_model_unpin},
    {"warm", "the frozen states of a catalogue, computed beforehand", cmd_model_warm},
};
#define N_SUBS (sizeof subs / sizeof *subs)

static int print_help(FILE *to)
{
    (void)fprintf(to, "usage: freshet model SUBCOMMAND [options]\n\n");
    for (size_t i = 0; i < N_SUBS; i++) (void)fprintf(to, "  %-9s %s\n", subs[i].name, subs[i].about);
    (void)fprintf(to, "\nfreshet model SUBCOMMAND --help    its options\n");
    return fflush(to) == 0 ? 0 : 1;
}

int cmd_model(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "freshet model: SUBCOMMAND is missing\n");
        (void)print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return print_help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        cmd_version();
        return 0;
    }
    for (size_t i = 0; i < N_SUBS; i++)
        if (strcmp(argv[1], subs[i].name) == 0) return subs[i].run(argc - 1, argv + 1);
    (void)fprintf(stderr, "freshet model: unknown subcommand '%s'\n", argv[1]);
    (void)print_help(stderr);
    return 2;
}
