/* process.h - what a command has beside itself: other processes, whole files, and one connection to a scorer.
 *
 * A child dies with its parent.  Its stderr goes to a file, of which the end is quoted when it fails.  Thread: the one that
 * began it.
 */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H
#include "base/buf.h"
#include "base/status.h"
#include <sys/types.h>

#define CMD_PROCESS_ARGS_MAX 64

struct cmd_process {
    pid_t pid;        /* 0: none */
    const char *name; /* in messages */
    double rss_bytes; /* the largest, once cmd_process_wait saw its end */
    char log[640];    /* path of its stderr */
    int in, out;      /* what it reads and writes instead of nothing, taken over; 0: nothing */
};
/* argv ends with NULL; argv[0] NULL is this program itself.  p->name, log, in and out are set by the caller. */
enum status cmd_process_start(struct cmd_process *p, const char *const *argv, struct err *e) MUST_CHECK;
/* Waits for its end: OK when that was exit 0; CORRUPT quotes its log; AGAIN after timeout_s, and END when told to stop: it goes
 * on. */
enum status cmd_process_wait(struct cmd_process *p, double timeout_s, struct err *e) MUST_CHECK;
/* CORRUPT, quoting its log, when it has ended; UNSUPPORTED when the program is not installed; END when told to stop. */
enum status cmd_process_alive(struct cmd_process *p, struct err *e) MUST_CHECK;
/* A new folder $TMPDIR/freshet-NAME-…; IO says why not, and dir is "" then. */
enum status cmd_file_temporary(char *dir, size_t size, const char *name, struct err *e) MUST_CHECK;
/* For a handler of signals: who waits for a process, or asks cmd_process_told, gets END from then on. */
void cmd_process_tell(void);
enum status cmd_process_told(struct err *e) MUST_CHECK;
void cmd_process_stop(struct cmd_process *p); /* SIGTERM, then SIGKILL; none running is fine */
void cmd_process_nap(double seconds);
/* The whole file, NUL after it (not counted).  IO, OOM. */
enum status cmd_file_read(struct buf *out, const char *path, struct err *e) MUST_CHECK;
enum status cmd_file_write(const char *path, const struct buf *b, struct err *e) MUST_CHECK;
/* Can they be read more than once?  INVALID names the one that can't ("-", a pipe) and why it would have to be. */
enum status cmd_file_check_lasting(const char *const *paths, size_t n, const char *why, struct err *e) MUST_CHECK;

/* One kept-alive connection over loopback.  Answers of up to 64 MiB with a Content-Length.  IO says what went wrong. */
enum status cmd_bench_connect(int *fd, int port, struct err *e) MUST_CHECK;
/* Sends request (a whole HTTP message) and reads the whole answer into reply; *body: where its body begins.  INVALID quotes
 * an answer that is not 200. */
enum status cmd_bench_ask(int fd, const struct buf *request, struct buf *reply, size_t *body, struct err *e) MUST_CHECK;
void cmd_bench_put_request(struct buf *b, const char *path, const struct buf *body); /* POST; body NULL: GET */
#endif
