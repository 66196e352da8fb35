/* cmd.h - one function per subcommand: argv[0] is the command's name; the return value is the process's exit status.
 *
 * 0 good, 1 failed, 2 wrong usage.  Data goes to stdout, everything else to stderr.  Thread: main only.
 */
#ifndef CLI_CMD_H
#define CLI_CMD_H

int cmd_run(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_simulate(int argc, char **argv);
int cmd_fit(int argc, char **argv);
int cmd_worth(int argc, char **argv);
int cmd_sweep(int argc, char **argv);
int cmd_bench(int argc, char **argv);
#endif
