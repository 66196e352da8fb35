/* redis_server.c - fork, exec, wait until it answers. */
#include "tests/support/redis_server.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 10000

static void die(const char *what)
{
    (void)fprintf(stderr, "redis_server: %s\n", what);
    exit(1);
}

static void run(const struct redis_server *s)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->socket, "--save", "", "--appendonly",
                 "no", "--dir", s->dir.path, "--logfile", "log", (char *)NULL);
    _exit(127);
}

static bool answers(const struct redis_server *s)
{
    struct redis *r = NULL;
    const struct redis_reply *reply;
    struct conf *c = redis_server_conf(s);
    const bool ok = redis_open(&r, c, clock_system(), NULL) == STATUS_OK &&
                    redis_call(r, NULL, &reply, REDIS_ARGS(STR("PING"))) == STATUS_OK;
    redis_close(r);
    conf_free(c);
    return ok;
}

/* A build without hiredis has nothing to test here. */
static void skip_without_library(const struct redis_server *s)
{
    struct redis *r = NULL;
    struct conf *c = redis_server_conf(s);
    const enum status st = redis_open(&r, c, clock_system(), NULL);
    redis_close(r);
    conf_free(c);
    if (st != STATUS_UNSUPPORTED) return;
    tmpdir_remove(&s->dir);
    (void)fprintf(stderr, "skipped: built without Redis\n");
    exit(77);
}

void redis_server_start(struct redis_server *s)
{
    int status;
    if (s->dir.path[0] == '\0') s->dir = tmpdir_make("redis");
    (void)tmpdir_file(&s->dir, "socket", s->socket);
    (void)snprintf(s->url, sizeof s->url, "unix:%s", s->socket);
    skip_without_library(s);
    s->pid = fork();
    if (s->pid < 0) die("fork failed");
    if (s->pid == 0) run(s);
    for (int ms = 0; ms < START_MS; ms += 5) {
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
        if (answers(s)) return;
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            tmpdir_remove(&s->dir);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
                (void)fprintf(stderr, "skipped: redis-server is not installed\n");
                exit(77);
            }
            die("it ended at once");
        }
    }
    redis_server_stop(s);
    die("it did not answer in time");
}

void redis_server_signal(struct redis_server *s, int signal)
{
    if (s->pid > 0) (void)kill(s->pid, signal);
}

void redis_server_kill(struct redis_server *s)
{
    if (s->pid <= 0) return;
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

void redis_server_stop(struct redis_server *s)
{
    redis_server_kill(s);
    if (s->dir.path[0] != '\0') tmpdir_remove(&s->dir);
    memset(s, 0, sizeof *s);
}

struct conf *redis_server_conf(const struct redis_server *s)
{
    struct conf *c = NULL;
    struct err e = {0};
    if (conf_new(&c, &e) != STATUS_OK || conf_set(c, "redis.url", s->url, &e) != STATUS_OK) die(e.text);
    return c;
}

static void show(const struct redis_reply *p, char out[4096])
{
    if (p->kind == REDIS_INTEGER)
        (void)snprintf(out, 4096, "%lld", (long long)p->integer);
    else if (p->kind == REDIS_ARRAY)
        (void)snprintf(out, 4096, "%zu", p->n);
    else
        (void)snprintf(out, 4096, STR_FMT, p->text.n > 4000 ? 4000 : (int)p->text.n, p->text.p ? p->text.p : "");
}

const char *redis_server_ask(const struct redis_server *s, char out[4096], const char *command)
{
    struct redis *r = NULL;
    struct err e = {0};
    const struct redis_reply *reply;
    struct str words[8];
    char text[1024], *at = NULL;
    size_t n = 0;
    (void)snprintf(text, sizeof text, "%s", command);
    for (char *w = strtok_r(text, " ", &at); w != NULL && n < 8; w = strtok_r(NULL, " ", &at)) words[n++] = str_from(w);
    struct conf *c = redis_server_conf(s);
    if (redis_open(&r, c, clock_system(), &e) != STATUS_OK || redis_call(r, &e, &reply, words, n) != STATUS_OK)
        die(e.text);
    show(reply, out);
    redis_close(r);
    conf_free(c);
    return out;
}
