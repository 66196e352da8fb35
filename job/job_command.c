/* job_command.c - orders, from Redis and from the state folder: done between two records, durable, published, answered.
 *
 * STATE/commands/<id> is an order (schemas/command.h), written whole by a rename.  Who follows it renames it to <id>.taken first, so
 * that who gave it can take back what nobody has begun; <id>.answer is what came of it, and there the order's file goes.  Orders are
 * followed as they were given, one after the other.  One that was done before a kill is answered from the state.  Answers that
 * nobody waits for stay, the ANSWERS_KEPT newest, for `freshet model versions`.
 */
#include "base/file.h"
#include "base/log.h"
#include "job/job_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_US = 250000, AT_ONCE = 16, ANSWERS_KEPT = 32, NAME_ROOM = COMMAND_ID + 16 };

/* Orders about the line are about the one that users are ranked by. */
static enum status about_challenger(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    const char *name = learner_challenger(j->learner);
    if (c->version > 0)
        return ERR_SET(e, STATUS_INVALID,
                       "version %" PRIu64 " is of the line default, and variant %s is in charge: leave the number out, "
                       "or give `freshet model promote default` first",
                       c->version, name);
    if (c->kind == COMMAND_ROLLBACK) {
        TRY(learner_rollback_challenger(j->learner, c, e));
        (void)snprintf(a->text, sizeof a->text,
                       "variant %s, which is in charge, went back to its blessed version, as version %" PRIu64
                       "; it rests for gate.cooldown_ms",
                       name, a->version);
        return STATUS_OK;
    }
    TRY(learner_bless_challenger(j->learner, c, e));
    (void)snprintf(a->text, sizeof a->text,
                   "variant %s, which is in charge, is judged against its version %" PRIu64 " from now on", name,
                   a->version);
    return STATUS_OK;
}

static enum status roll_back(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    const uint64_t blessed = learner_blessed(j->learner), to = c->version > 0 ? c->version : blessed;
    if (learner_challenger(j->learner) != NULL) return about_challenger(j, c, a, e);
    if (c->version == 0 || c->version == blessed) {
        TRY(learner_rollback(j->learner, c->who, c->reason, c->wall_ms, e));
    } else {
        TRY(checkpoint_take(j->checkpoint, j->learner, c->version, e));
        TRY(learner_adopt(j->learner, c, e));
    }
    const char *then =
        j->conf->gate_share > 0 ? "learning rests for gate.cooldown_ms" : "learning goes on at once, as gate.share=0";
    if (to > 0)
        (void)snprintf(a->text, sizeof a->text, "went back to version %" PRIu64 ", as version %" PRIu64 "; %s", to,
                       a->version, then);
    else
        (void)snprintf(a->text, sizeof a->text, "went back to the blessed version, as version %" PRIu64 "; %s",
                       a->version, then);
    return STATUS_OK;
}

/* Who is in charge is said with a version of the default line, so none may be pinned. */
static enum status promote_variant(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    const uint64_t pinned = learner_pinned(j->learner);
    if (pinned > 0)
        return ERR_SET(e, STATUS_INVALID, "version %" PRIu64 " is pinned: freshet model unpin comes first", pinned);
    TRY(learner_promote_variant(j->learner, c, e));
    (void)snprintf(a->text, sizeof a->text, "variant %s is in charge", c->name);
    return STATUS_OK;
}

static enum status promote(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    const uint64_t newest = checkpoint_version(j->checkpoint);
    if (c->name[0] != '\0') return promote_variant(j, c, a, e);
    if (learner_challenger(j->learner) != NULL) return about_challenger(j, c, a, e);
    if (c->version > 0 && c->version != newest) return command_not_newest(c, newest, e);
    TRY(learner_promote(j->learner, c, e));
    (void)snprintf(a->text, sizeof a->text, "version %" PRIu64 " is the blessed one: the line is judged against it",
                   a->version);
    return STATUS_OK;
}

static enum status pin(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    struct publish_state s = {0};
    if (j->publish != NULL) publish_state(j->publish, &s);
    uint64_t version = c->version > 0 ? c->version : s.in_force;
    if (version == 0) version = checkpoint_version(j->checkpoint);
    if (!checkpoint_has(j->checkpoint, version, NULL))
        return ERR_SET(e, STATUS_NOT_FOUND,
                       "version %" PRIu64 " is not kept in %s: `freshet model versions %s` lists those that are",
                       version, j->state_dir, j->state_dir);
    TRY(learner_pin(j->learner, version, c, e));
    a->version = version;
    (void)snprintf(a->text, sizeof a->text, "version %" PRIu64 " stays published while learning goes on", version);
    return STATUS_OK;
}

static enum status unpin(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    const uint64_t version = learner_pinned(j->learner);
    if (version == 0) return ERR_SET(e, STATUS_NOT_FOUND, "no version is pinned");
    TRY(learner_pin(j->learner, 0, c, e));
    (void)snprintf(a->text, sizeof a->text, "version %" PRIu64 " is no longer pinned: version %" PRIu64 " is published",
                   version, a->version);
    return STATUS_OK;
}

static enum status do_it(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    a->version = checkpoint_next(j->checkpoint); /* the checkpoint that makes it durable */
    switch (c->kind) {
    case COMMAND_ROLLBACK: return roll_back(j, c, a, e);
    case COMMAND_PROMOTE: return promote(j, c, a, e);
    case COMMAND_PIN: return pin(j, c, a, e);
    case COMMAND_UNPIN: return unpin(j, c, a, e);
    case COMMAND_KINDS: break;
    }
    return ERR_SET(e, STATUS_INVALID, "no such order");
}

/* An order that can't be followed is answered so, and changes nothing; what stops the job is an error of ours. */
static enum status carry_out(struct job *j, const struct command *c, struct command_answer *a, struct err *e)
{
    struct err why = {0};
    if (learner_answered(j->learner, c->id, a)) return STATUS_OK;
    *a = (struct command_answer){0};
    (void)snprintf(a->id, sizeof a->id, "%s", c->id);
    const enum status st = do_it(j, c, a, &why);
    log_info("command", "kind=%s version=%" PRIu64 " by=\"%s\" reason=\"%s\" %s=\"%s\"", command_kind_name(c->kind),
             c->version, c->who, c->reason, st == STATUS_OK ? "done" : "refused", st == STATUS_OK ? a->text : why.text);
    if (st == STATUS_NOT_FOUND || st == STATUS_INVALID || (st == STATUS_CORRUPT && c->version > 0)) {
        a->version = 0;
        (void)snprintf(a->text, sizeof a->text, "%.390s", why.text);
        return STATUS_OK;
    }
    if (st != STATUS_OK) {
        if (e != NULL) *e = why;
        return st;
    }
    a->ok = true;
    learner_remember(j->learner, a);
    (void)learner_due(j->learner);
    return job_checkpoint(j, command_kind_name(c->kind), e);
}

/* ---- the folder ---- */

static enum status answer_file(int dir, const struct command_answer *a, struct err *e)
{
    char name[NAME_ROOM];
    struct buf b = {0};
    (void)snprintf(name, sizeof name, "%s" COMMAND_ANSWER, a->id);
    command_answer_encode(&b, a);
    enum status st = buf_status(&b, e);
    if (st == STATUS_OK) st = file_write(dir, name, b.p, b.n, e);
    buf_fini(&b);
    return st;
}

static size_t read_small(int dir, const char *name, char out[COMMAND_BYTES_MAX + 1])
{
    const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const ssize_t n = fd >= 0 ? read(fd, out, COMMAND_BYTES_MAX + 1) : -1;
    if (fd >= 0) (void)close(fd);
    return n > 0 ? (size_t)n : 0;
}

/* A file that is no order goes, and is told of: false. */
static bool read_order(const struct job *j, int dir, const char *name, struct command *c)
{
    char text[COMMAND_BYTES_MAX + 1];
    struct err why = {0};
    const size_t n = read_small(dir, name, text);
    if (command_decode(c, (struct str){text, n}, &why) == STATUS_OK && strncmp(c->id, name, COMMAND_ID - 1) == 0)
        return true;
    log_limited(LOG_WARN, "command", "file=%s/commands/%s refused=\"%s\"", j->state_dir, name,
                why.text[0] != '\0' ? why.text : "its id is not its name");
    (void)unlinkat(dir, name, 0);
    return false;
}

static enum status follow(struct job *j, int dir, const struct command *c, struct err *e)
{
    char taken[NAME_ROOM];
    struct command_answer a;
    struct err why = {0};
    (void)snprintf(taken, sizeof taken, "%.*s" COMMAND_TAKEN, COMMAND_ID - 1, c->id);
    if (renameat(dir, c->id, dir, taken) != 0 && faccessat(dir, taken, F_OK, 0) != 0)
        return STATUS_OK; /* it was taken back */
    TRY(carry_out(j, c, &a, e));
    if (answer_file(dir, &a, &why) != STATUS_OK)
        log_warn("command", "answer of %s not written: %s", c->id, why.text); /* it is asked again, and known then */
    else
        (void)unlinkat(dir, taken, 0);
    return STATUS_OK;
}

static bool is_order(const char *name)
{
    const char *rest = name + strspn(name, "0123456789abcdef");
    return rest - name == COMMAND_ID - 1 && (*rest == '\0' || strcmp(rest, COMMAND_TAKEN) == 0);
}

/* By when they were given, whatever order the folder lists them in. */
static bool is_earlier(const struct command *a, const struct command *b)
{
    return a->wall_ms != b->wall_ms ? a->wall_ms < b->wall_ms : strcmp(a->id, b->id) < 0;
}

/* Puts c in its place among the n first ones; the last of AT_ONCE gives way.  Returns how many there are. */
static size_t put_order(struct command *orders, size_t n, const struct command *c)
{
    size_t at = n < AT_ONCE ? n : AT_ONCE - 1;
    if (n == AT_ONCE && !is_earlier(c, &orders[at])) return n;
    for (; at > 0 && is_earlier(c, &orders[at - 1]); at--) orders[at] = orders[at - 1];
    orders[at] = *c;
    return n < AT_ONCE ? n + 1 : n;
}

struct left { /* an answer in the folder */
    char name[NAME_ROOM];
    struct timespec time;
};

static bool is_older(const struct left *a, const struct left *b)
{
    if (a->time.tv_sec != b->time.tv_sec) return a->time.tv_sec < b->time.tv_sec;
    return a->time.tv_nsec != b->time.tv_nsec ? a->time.tv_nsec < b->time.tv_nsec : strcmp(a->name, b->name) < 0;
}

/* The next answer of the folder; false: there is no more. */
static bool next_answer(DIR *d, struct left *out)
{
    struct stat info;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        const size_t n = strlen(f->d_name), end = strlen(COMMAND_ANSWER);
        if (n >= sizeof out->name || n < end || strcmp(f->d_name + n - end, COMMAND_ANSWER) != 0) continue;
        if (fstatat(dirfd(d), f->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        memcpy(out->name, f->d_name, n + 1);
        out->time = info.st_mtim;
        return true;
    }
    return false;
}

/* The oldest goes where there are more than are kept; false: nothing went. */
static bool drop_oldest(DIR *d)
{
    struct left oldest = {.name = ""}, one;
    size_t n = 0;
    for (rewinddir(d); next_answer(d, &one); n++)
        if (n == 0 || is_older(&one, &oldest)) oldest = one;
    return n > ANSWERS_KEPT && unlinkat(dirfd(d), oldest.name, 0) == 0;
}

static enum status read_folder(struct job *j, struct err *e)
{
    char path[700];
    struct command orders[AT_ONCE], c;
    size_t n = 0;
    enum status st = STATUS_OK;
    (void)snprintf(path, sizeof path, "%s/commands", j->state_dir);
    DIR *d = opendir(path);
    if (d == NULL) return STATUS_OK;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        if (is_order(f->d_name) && read_order(j, dirfd(d), f->d_name, &c)) n = put_order(orders, n, &c);
    for (size_t i = 0; i < n && st == STATUS_OK; i++) st = follow(j, dirfd(d), &orders[i], e);
    while (n > 0 && drop_oldest(d)) continue;
    (void)closedir(d);
    return st;
}

enum status job_command_tick(struct job *j, int64_t now_us, struct err *e)
{
    struct command c;
    struct command_answer a;
    if (now_us < j->next_command_us || j->ranks != NULL || j->fit != NULL)
        return STATUS_OK; /* they would change one replica of several, or make a version of what is not learnt yet */
    j->next_command_us = now_us + LOOK_US;
    while (publish_order(j->publish, &c)) {
        TRY(carry_out(j, &c, &a, e));
        publish_answer(j->publish, &a);
    }
    return j->temporary ? STATUS_OK : read_folder(j, e);
}
