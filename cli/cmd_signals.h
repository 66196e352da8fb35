/* cmd_signals.h - SIGTERM and SIGINT ask a long-running command to finish, SIGHUP to read its configuration again;
 * SIGPIPE is ignored.
 *
 * A second SIGINT ends the process at once, as a user at a terminal expects.
 */
#ifndef CLI_CMD_SIGNALS_H
#define CLI_CMD_SIGNALS_H

void cmd_stop_on_signals(void (*stop)(void));    /* stop must be async-signal-safe */
void cmd_reload_on_signal(void (*reload)(void)); /* SIGHUP; likewise */
#endif
