/* cmd_signals.h - SIGTERM and SIGINT ask a long-running command to finish; SIGPIPE is ignored.
 *
 * A second SIGINT ends the process at once, as a user at a terminal expects.
 */
#ifndef CLI_CMD_SIGNALS_H
#define CLI_CMD_SIGNALS_H

void cmd_stop_on_signals(void (*stop)(void)); /* stop must be async-signal-safe */
#endif
