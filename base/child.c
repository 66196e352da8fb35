/* child.c - see child.h: the answer comes back through a pipe, in one write. */
#include "base/child.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX 3000

struct reply { /* below PIPE_BUF: written and read whole */
    enum status status;
    char text[sizeof((struct err *)0)->text];
    _Alignas(16) unsigned char answer[ANSWER_MAX];
};

static void work(enum status (*fn)(void *, void *, struct err *), void *user, const void *answer, size_t n, int out)
{
    struct reply r = {0};
    struct err e = {0};
    memcpy(r.answer, answer, n);
    r.status = fn(user, r.answer, &e);
    memcpy(r.text, e.text, sizeof r.text);
    const ssize_t w = write(out, &r, sizeof r);
    _exit(w == (ssize_t)sizeof r ? 0 : 1);
}

/* 1 there is an answer (or an end), 0 the time is up. */
static int wait_for(int fd, int timeout_ms)
{
    struct clock *c = clock_system();
    const int64_t end_us = c->mono_us(c) + (int64_t)timeout_ms * 1000;
    for (;;) {
        const int64_t left = (end_us - c->mono_us(c)) / 1000;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0) return 1;
        if (n == 0 || errno != EINTR) return 0;
    }
}

static enum status collect(pid_t pid, int fd, void *answer, size_t n, int timeout_ms, struct err *e)
{
    struct reply r;
    int how = 0;
    const bool in_time = wait_for(fd, timeout_ms) == 1;
    ssize_t got = -1;
    if (in_time) do {
            got = read(fd, &r, sizeof r);
        } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof r && !in_time) (void)kill(pid, SIGKILL);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) continue;
    if (!in_time) return ERR_SET(e, STATUS_CORRUPT, "reading it did not end within %d s", timeout_ms / 1000);
    if (got != (ssize_t)sizeof r)
        return WIFSIGNALED(how) ? ERR_SET(e, STATUS_CORRUPT, "reading it ended by signal %d", WTERMSIG(how))
                                : ERR_SET(e, STATUS_CORRUPT, "reading it ended without an answer");
    memcpy(answer, r.answer, n);
    if (r.status == STATUS_OK) return STATUS_OK;
    return ERR_SET(e, r.status, "%s", r.text);
}

enum status child_run(enum status (*fn)(void *user, void *answer, struct err *e), void *user, void *answer, size_t n,
                      int timeout_ms, int drop_fd, struct err *e)
{
    int ends[2];
    if (n > ANSWER_MAX) return ERR_SET(e, STATUS_INVALID, "an answer of %zu bytes is over %d", n, ANSWER_MAX);
    if (pipe2(ends, O_CLOEXEC) != 0) return ERR_SET(e, STATUS_IO, "no pipe to a child: %s", strerror(errno));
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        if (drop_fd >= 0) (void)close(drop_fd);
        (void)close(ends[0]);
        work(fn, user, answer, n, ends[1]);
    }
    (void)close(ends[1]);
    enum status st = STATUS_OK;
    if (pid < 0)
        st = ERR_SET(e, STATUS_IO, "no child process: %s", strerror(errno));
    else
        st = collect(pid, ends[0], answer, n, timeout_ms, e);
    (void)close(ends[0]);
    return st;
}
