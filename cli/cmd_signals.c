/* cmd_signals.c - see cmd_signals.h.
 *
 * The handler calls back and re-arms the default for SIGINT; nothing else happens in signal context.
 */
#include "cli/cmd_signals.h"
#include <signal.h>
#include <stddef.h>

static void (*stop_fn)(void), (*reload_fn)(void);

static void on_signal(int number)
{
    if (number == SIGINT) (void)signal(SIGINT, SIG_DFL);
    stop_fn();
}

void cmd_stop_on_signals(void (*stop)(void))
{
    struct sigaction action = {.sa_handler = on_signal};
    stop_fn = stop;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void on_hangup(int number)
{
    (void)number;
    reload_fn();
}

void cmd_reload_on_signal(void (*reload)(void))
{
    struct sigaction action = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    reload_fn = reload;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGHUP, &action, NULL);
}
