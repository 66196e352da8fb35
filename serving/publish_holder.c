/* publish_holder.c - from /proc: stat(5) has state and start time, sys/kernel/random/boot_id names the boot. */
#include "serving/publish_holder.h"
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIELD_STATE 3 /* proc_pid_stat(5) */
#define FIELD_START 22

/* One line of a file; "" when it can't be read. */
static void read_line(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    if (f == NULL || fgets(out, (int)cap, f) == NULL) out[0] = '\0';
    if (f != NULL) (void)fclose(f);
    out[strcspn(out, "\n")] = '\0';
}

/* Field n of /proc/<pid>/stat, n > 2: counted after the last parenthesis, since a program's name may hold anything. */
static bool stat_field(long pid, int n, char out[32])
{
    char path[64], line[1024];
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    read_line(path, line, sizeof line);
    char *at = strrchr(line, ')'), *rest = NULL;
    char *word = at != NULL ? strtok_r(at + 1, " ", &rest) : NULL;
    for (int i = FIELD_STATE; i < n && word != NULL; i++) word = strtok_r(NULL, " ", &rest);
    if (word == NULL) return false;
    (void)snprintf(out, 32, "%s", word);
    return true;
}

/* "" when /proc does not tell. */
static void born_of(long pid, char *out, size_t cap)
{
    char boot[40], start[32];
    read_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    if (stat_field(pid, FIELD_START, start))
        (void)snprintf(out, cap, "%s/%s", boot, start);
    else
        out[0] = '\0';
}

static void make_plain(char *text)
{
    for (char *p = text; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ') *p = '_';
}

void publish_holder_self(struct publish_holder *h)
{
    memset(h, 0, sizeof *h);
    if (gethostname(h->host, sizeof h->host - 1) != 0) (void)snprintf(h->host, sizeof h->host, "unknown");
    const ssize_t n = readlink("/proc/self/ns/pid", h->space, sizeof h->space - 1);
    h->space[n > 0 ? n : 0] = '\0';
    h->pid = (long)getpid();
    born_of(h->pid, h->born, sizeof h->born);
    make_plain(h->host);
    make_plain(h->space);
    make_plain(h->born);
}

void publish_holder_parse(struct str text, struct publish_holder *h)
{
    const char *owner = "", *host = "?", *space = "", *born = "";
    json_int_t pid = 0, epoch = 0;
    memset(h, 0, sizeof *h);
    json_t *o = json_loadb(text.p, text.n, 0, NULL);
    (void)json_unpack(o, "{s?s,s?s,s?s,s?s,s?I,s?I}", "owner", &owner, "host", &host, "space", &space, "born", &born,
                      "pid", &pid, "epoch", &epoch);
    (void)snprintf(h->owner, sizeof h->owner, "%s", owner);
    (void)snprintf(h->host, sizeof h->host, "%s", host);
    (void)snprintf(h->space, sizeof h->space, "%s", space);
    (void)snprintf(h->born, sizeof h->born, "%s", born);
    h->pid = (long)pid;
    h->epoch = epoch > 0 ? (uint64_t)epoch : 0;
    json_decref(o);
}

void publish_holder_format(const struct publish_holder *h, char *out, size_t cap)
{
    (void)snprintf(out, cap,
                   "{\"owner\":\"%s\",\"epoch\":%llu,\"host\":\"%s\",\"pid\":%ld,\"space\":\"%s\",\"born\":\"%s\"}",
                   h->owner, (unsigned long long)h->epoch, h->host, h->pid, h->space, h->born);
}

/* No such process, one that is dead but not reaped, or another one that got its number. */
static bool gone(const struct publish_holder *h)
{
    char state[32], born[80];
    if (kill((pid_t)h->pid, 0) != 0 && errno == ESRCH) return true;
    if (!stat_field(h->pid, FIELD_STATE, state)) return false; /* of another user: what is not known is alive */
    if (state[0] == 'Z' || state[0] == 'X') return true;
    born_of(h->pid, born, sizeof born);
    return h->born[0] != '\0' && born[0] != '\0' && strcmp(h->born, born) != 0;
}

bool publish_holder_killed(const struct publish_holder *h)
{
    struct publish_holder me;
    publish_holder_self(&me);
    return h->pid > 0 && h->space[0] != '\0' && strcmp(h->host, me.host) == 0 && strcmp(h->space, me.space) == 0 &&
           gone(h);
}
