/* process.c - see process.h: children of a command, and small files. */
#include "cli/process.h"
#include "cli/bench.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_S 6.0
#define NO_PROGRAM 127
#define TAIL 300 /* bytes of a log that are quoted */

void cmd_process_nap(double seconds)
{
    const time_t whole = (time_t)seconds;
    (void)nanosleep(&(struct timespec){whole, (long)((seconds - (double)whole) * 1e9)}, NULL);
}

static char self[] = "freshet";

static void become(const struct cmd_process *p, const char *const *argv)
{
    const int log = open(p->log, O_CREAT | O_APPEND | O_WRONLY, 0600), none = open("/dev/null", O_RDWR);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(p->in > 0 ? p->in : none, STDIN_FILENO);
    (void)dup2(p->out > 0 ? p->out : none, STDOUT_FILENO);
    (void)dup2(log >= 0 ? log : none, STDERR_FILENO);
    char *list[CMD_PROCESS_ARGS_MAX + 1];
    memcpy(list, argv, sizeof list);
    const char *program = argv[0] != NULL ? argv[0] : "/proc/self/exe";
    if (list[0] == NULL) list[0] = self;
    (void)execvp(program, list);
    _exit(NO_PROGRAM);
}

enum status cmd_process_start(struct cmd_process *p, const char *const *argv, struct err *e)
{
    const char *list[CMD_PROCESS_ARGS_MAX + 1] = {argv[0]};
    for (size_t i = 1; argv[i] != NULL; i++) {
        if (i == CMD_PROCESS_ARGS_MAX) return ERR_SET(e, STATUS_INVALID, "%s: too many arguments", p->name);
        list[i] = argv[i];
    }
    p->pid = fork();
    if (p->pid == 0) become(p, list);
    if (p->in > 0) (void)close(p->in);
    if (p->out > 0) (void)close(p->out);
    p->in = p->out = 0;
    if (p->pid > 0) return STATUS_OK;
    p->pid = 0;
    return ERR_SET(e, STATUS_OOM, "%s can't be started: %s", p->name, strerror(errno));
}

static enum status quote(const struct cmd_process *p, int status, struct err *e)
{
    struct buf b = {0};
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM)
        return ERR_SET(e, STATUS_UNSUPPORTED, "%s is not installed", p->name);
    if (cmd_file_read(&b, p->log, NULL) != STATUS_OK) buf_clear(&b);
    const size_t from = b.n > TAIL ? b.n - TAIL : 0;
    const enum status st =
        ERR_SET(e, STATUS_CORRUPT, "%s ended (%s %d): ...%.*s", p->name, WIFEXITED(status) ? "exit" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), (int)(b.n - from),
                b.n > 0 ? (const char *)b.p + from : "");
    buf_fini(&b);
    return st;
}

static atomic_bool stopping;

void cmd_process_tell(void)
{
    atomic_store(&stopping, true);
}

enum status cmd_process_told(struct err *e)
{
    return atomic_load(&stopping) ? ERR_SET(e, STATUS_END, "told to stop by a signal") : STATUS_OK;
}

enum status cmd_process_alive(struct cmd_process *p, struct err *e)
{
    int status;
    TRY(cmd_process_told(e));
    if (p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == 0) return STATUS_OK;
    if (p->pid == 0) return ERR_SET(e, STATUS_CORRUPT, "%s does not run", p->name);
    p->pid = 0;
    return quote(p, status, e);
}

static enum status wait_end(struct cmd_process *p, double timeout_s, bool told, struct err *e)
{
    int status = 0;
    struct rusage used = {0};
    const double end = cmd_bench_now_s() + timeout_s;
    while (wait4(p->pid, &status, WNOHANG, &used) == 0) {
        if (told) TRY(cmd_process_told(e));
        if (cmd_bench_now_s() > end) return ERR_SET(e, STATUS_AGAIN, "%s took longer than %.0f s", p->name, timeout_s);
        cmd_process_nap(0.005);
    }
    p->pid = 0;
    p->rss_bytes = (double)used.ru_maxrss * 1024.0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? STATUS_OK : quote(p, status, e);
}

enum status cmd_process_wait(struct cmd_process *p, double timeout_s, struct err *e)
{
    return wait_end(p, timeout_s, true, e);
}

void cmd_process_stop(struct cmd_process *p)
{
    if (p->pid <= 0) return;
    (void)kill(p->pid, SIGTERM);
    if (wait_end(p, STOP_S, false, NULL) != STATUS_AGAIN) return;
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

enum status cmd_file_temporary(char *dir, size_t size, const char *name, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, size, "%s/freshet-%s-XXXXXX", tmp != NULL ? tmp : "/tmp", name);
    if (mkdtemp(dir) != NULL) return STATUS_OK;
    const int why = errno;
    const enum status st = ERR_SET(e, STATUS_IO, "temporary folder %s: %s (set TMPDIR)", dir, strerror(why));
    dir[0] = '\0';
    return st;
}

enum status cmd_file_read(struct buf *out, const char *path, struct err *e)
{
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "r");
    if (f == NULL) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) buf_put(out, piece, n);
    const bool failed = ferror(f) != 0;
    (void)fclose(f);
    buf_u8(out, 0);
    TRY(buf_status(out, e));
    out->n--;
    return failed ? ERR_SET(e, STATUS_IO, "%s can't be read", path) : STATUS_OK;
}

enum status cmd_file_write(const char *path, const struct buf *b, struct err *e)
{
    TRY(buf_status(b, e));
    FILE *f = fopen(path, "w");
    if (f == NULL) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    const bool written = fwrite(b->p, 1, b->n, f) == b->n;
    return fclose(f) == 0 && written ? STATUS_OK : ERR_SET(e, STATUS_IO, "%s can't be written: %s", path, strerror(errno));
}

enum status cmd_file_check_lasting(const char *const *paths, size_t n, const char *why, struct err *e)
{
    struct stat about;
    for (size_t i = 0; i < n; i++) {
        const bool lasts = strcmp(paths[i], "-") != 0 && (stat(paths[i], &about) != 0 || !S_ISFIFO(about.st_mode));
        if (!lasts)
            return ERR_SET(e, STATUS_INVALID, "%s can be read only once, and %s: write it to a file first", paths[i],
                           why);
    }
    return STATUS_OK;
}
