/* cmd_model_order.c - `freshet model rollback|promote|pin|unpin`: an order to the learner, and its answer.
 *
 * Through Redis (redis.url) to the learner that holds the model's lease; or through the state folder (state.dir), where a learner
 * that runs does it at once and one that is started later does it before it takes the first event.  The learner alone decides,
 * makes it durable and publishes; nothing is changed here.
 */
#include "base/clock.h"
#include "base/file.h"
#include "cli/model.h"
#include "cli/options.h"
#include "job/checkpoint_meta.h"
#include "schemas/command.h"
#include "schemas/conf_variant.h"
#include "schemas/key.h"
#include "serving/redis.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LIST_TTL_S "30" /* an order that nobody took is gone by itself */
enum { NAP_MS = 50, TAKE_BACK_MS = 3000 };

struct order {
    const char *name; /* "model rollback" */
    struct conf *conf;
    struct command command;
    struct buf text; /* the command's */
    uint64_t wait_s;
    struct command_answer answer;
    bool later; /* written down for the next start */
};

static void nap(void)
{
    (void)nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
}

static int64_t now_ms(void)
{
    struct clock *c = clock_system();
    return c->mono_us(c) / 1000;
}

/* ---- Redis ---- */

static enum status learner_lives(const struct order *o, struct redis *r, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_lease(key, o->conf->model_name);
    TRY(redis_call(r, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind == REDIS_TEXT) return STATUS_OK;
    return ERR_SET(
        e, STATUS_NOT_FOUND,
        "%s: no learner of model %s lives (nobody has its lease); start it, or give the order to its stopped state "
        "folder with --state DIR",
        redis_name(r), o->conf->model_name);
}

/* Both in one write: nothing of ours comes between the order and its end (an operator's rights hold no MULTI). */
static enum status push(const struct order *o, struct redis *r, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    const struct str text = {(const char *)o->text.p, o->text.n};
    (void)key_commands(key, o->conf->model_name);
    redis_clear(r);
    TRY(redis_append(r, e, REDIS_ARGS(STR("RPUSH"), str_from(key), text)));
    TRY(redis_append(r, e, REDIS_ARGS(STR("EXPIRE"), str_from(key), STR(LIST_TTL_S))));
    TRY(redis_get(r, e, &reply));
    return redis_get(r, e, &reply);
}

/* NOT_FOUND: none yet. */
static enum status look_for_answer(struct order *o, struct redis *r, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_answer(key, o->conf->model_name, o->command.id);
    TRY(redis_call(r, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return STATUS_NOT_FOUND;
    return command_answer_decode(&o->answer, reply->text, e);
}

static enum status wait_for_answer(struct order *o, struct redis *r, struct err *e)
{
    const int64_t until = now_ms() + (int64_t)o->wait_s * 1000;
    enum status st;
    do {
        nap();
        st = look_for_answer(o, r, e);
    } while ((st == STATUS_NOT_FOUND || st == STATUS_IO) && now_ms() < until);
    return st;
}

static enum status unanswered(const struct order *o, bool was_there, struct err *e)
{
    return ERR_SET(e, STATUS_AGAIN, "no answer within %" PRIu64 " s; the order was %s", o->wait_s,
                   was_there ? "taken back" : "taken, and may still be done: see freshet model versions");
}

/* Nobody answered, or Redis went away: the order is taken back, so that it is not done some time later. */
static enum status take_back(struct order *o, struct redis *r, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    const struct str text = {(const char *)o->text.p, o->text.n};
    const int64_t until = now_ms() + TAKE_BACK_MS;
    enum status st;
    (void)key_commands(key, o->conf->model_name);
    while ((st = redis_call(r, e, &reply, REDIS_ARGS(STR("LREM"), str_from(key), STR("0"), text))) == STATUS_IO &&
           now_ms() < until)
        nap();
    if (st != STATUS_OK) return err_prefix(e, "the order was not taken back, and may be done within " LIST_TTL_S " s");
    const bool was_there = reply->integer > 0;
    st = look_for_answer(o, r, e);
    return st != STATUS_NOT_FOUND ? st : unanswered(o, was_there, e);
}

static enum status through_redis(struct order *o, struct err *e)
{
    struct redis *r = NULL;
    enum status st;
    TRY_OUT(st, redis_open(&r, o->conf, clock_system(), e));
    TRY_OUT(st, learner_lives(o, r, e));
    st = push(o, r, e);
    if (st == STATUS_OK) st = wait_for_answer(o, r, e);
    if (st == STATUS_NOT_FOUND || st == STATUS_IO) st = take_back(o, r, e);
out:
    redis_close(r);
    return st;
}

/* ---- the state folder ---- */

/* Does the process that wrote the lock file run?  The lock is tried only where one of its number does, which may be another
 * by now: who starts at that moment would find it held. */
static bool is_held(int lock)
{
    char text[400] = "", host[256] = "", here[256] = "";
    long pid = 0;
    const ssize_t n = read(lock, text, sizeof text - 1);
    if (n <= 0 || sscanf(text, "%ld %255s", &pid, host) < 1 || pid <= 0) return false;
    if (host[0] != '\0' && gethostname(here, sizeof here - 1) == 0 && strcmp(host, here) != 0)
        return true; /* not ours to see */
    return (kill((pid_t)pid, 0) == 0 || errno == EPERM) && flock(lock, LOCK_EX | LOCK_NB) != 0;
}

static bool folder_is_held(int dir)
{
    const int lock = openat(dir, "lock", O_RDONLY | O_CLOEXEC);
    const bool held = lock >= 0 && is_held(lock);
    if (lock >= 0) (void)close(lock);
    return held;
}

static enum status read_answer(struct order *o, int commands, struct err *e)
{
    char name[COMMAND_ID + 16], text[COMMAND_BYTES_MAX];
    (void)snprintf(name, sizeof name, "%s" COMMAND_ANSWER, o->command.id);
    const int fd = openat(commands, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? STATUS_NOT_FOUND : file_failed(e, name, "be read", errno);
    const ssize_t n = read(fd, text, sizeof text);
    (void)close(fd);
    if (n <= 0) return ERR_SET(e, STATUS_IO, "%s is empty", name);
    (void)unlinkat(commands, name, 0);
    return command_answer_decode(&o->answer, (struct str){text, (size_t)n}, e);
}

/* Who follows an order has renamed its file first. */
static enum status take_back_file(struct order *o, int commands, struct err *e)
{
    const bool was_there = unlinkat(commands, o->command.id, 0) == 0;
    const enum status st = was_there ? STATUS_NOT_FOUND : read_answer(o, commands, e);
    return st != STATUS_NOT_FOUND ? st : unanswered(o, was_there, e);
}

/* Of the folder's weight files, weights/<version> and weights/<version>.<variant>. */
static bool has_variant(int weights, const char *name)
{
    bool found = false;
    DIR *d = file_list(weights);
    for (const char *file; !found && (file = file_next(d)) != NULL;) {
        const char *dot = strchr(file, '.');
        found = dot != NULL && dot != file && strcmp(dot + 1, name) == 0;
    }
    file_list_end(d);
    return found;
}

/* promote blesses the line as it is: no version but the newest. */
static enum status check_newest(const struct order *o, struct err *e)
{
    struct checkpoint_meta meta;
    if (o->command.kind != COMMAND_PROMOTE || o->command.version == 0) return STATUS_OK;
    TRY(checkpoint_meta_open(&meta, o->conf->state_dir, e));
    const uint64_t newest = meta.version;
    checkpoint_meta_close(&meta);
    return newest == o->command.version ? STATUS_OK : command_not_newest(&o->command, newest, e);
}

/* What the next start could only refuse is said now: nobody reads its log for an answer. */
static enum status check_known(const struct order *o, int weights, struct err *e)
{
    char file[24];
    const char *name = o->command.name, *dir = o->conf->state_dir;
    (void)snprintf(file, sizeof file, "%" PRIu64, o->command.version);
    TRY(check_newest(o, e));
    if (o->command.version > 0 && faccessat(weights, file, F_OK, 0) != 0)
        return ERR_SET(e, STATUS_NOT_FOUND,
                       "version %" PRIu64 " is not kept in %s: `freshet model versions %s` lists those that are",
                       o->command.version, dir, dir);
    if (name[0] == '\0' || conf_line_find(o->conf, str_from(name)) != SIZE_MAX || has_variant(weights, name))
        return STATUS_OK;
    return ERR_SET(e, STATUS_NOT_FOUND,
                   "no variant '%s' has learnt in %s; one that is new is known by its [variant.%s] in --config FILE",
                   name, dir, name);
}

static enum status ask_folder(struct order *o, int dir, int weights, int commands, struct err *e)
{
    enum status st = STATUS_NOT_FOUND;
    o->later = !folder_is_held(dir);
    if (o->later) TRY(check_known(o, weights, e));
    TRY(file_write(commands, o->command.id, o->text.p, o->text.n, e));
    if (o->later) return STATUS_OK;
    const int64_t until = now_ms() + (int64_t)o->wait_s * 1000;
    while (st == STATUS_NOT_FOUND && now_ms() < until) {
        nap();
        st = read_answer(o, commands, e);
    }
    return st != STATUS_NOT_FOUND ? st : take_back_file(o, commands, e);
}

static enum status through_folder(struct order *o, struct err *e)
{
    int dir = -1, commands = -1, weights = -1;
    enum status st = file_open_dir(&dir, AT_FDCWD, o->conf->state_dir, false, e);
    if (st == STATUS_OK && file_open_dir(&weights, dir, "weights", false, NULL) != STATUS_OK)
        st = ERR_SET(e, STATUS_NOT_FOUND, "%s is no state folder", o->conf->state_dir);
    if (st == STATUS_OK) st = file_open_dir(&commands, dir, "commands", true, e);
    if (st == STATUS_OK) st = ask_folder(o, dir, weights, commands, e);
    if (weights >= 0) (void)close(weights);
    if (commands >= 0) (void)close(commands);
    if (dir >= 0) (void)close(dir);
    return st;
}

/* ---- the command line ---- */

static enum status give(struct order *o, struct err *e)
{
    command_encode(&o->text, &o->command);
    TRY(buf_status(&o->text, e));
    const char *dir = o->conf->state_dir; /* of a configuration that names both it may be another host's */
    const bool folder = dir[0] != '\0' && (o->conf->redis_url[0] == '\0' || access(dir, X_OK) == 0);
    return folder ? through_folder(o, e) : through_redis(o, e);
}

static int say(struct order *o)
{
    struct buf b = {0};
    struct err e = {0};
    if (o->later)
        buf_printf(&b, "written down in %s: no learner has the folder; it is done at the next start\n",
                   o->conf->state_dir);
    else
        buf_printf(&b, "%s\n", o->answer.text);
    if (!o->later && !o->answer.ok) {
        (void)ERR_SET(&e, STATUS_INVALID, "%s", o->answer.text);
        buf_fini(&b);
        return cmd_failed(o->name, &e);
    }
    const int rc = cmd_print(o->name, &b);
    buf_fini(&b);
    return rc;
}

/* VERSION is a number; promote takes a variant's name too. */
static enum status take_argument(struct order *o, const char *text, struct err *e)
{
    char *end;
    const unsigned long long version = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && version > 0 && version <= COMMAND_VERSION_MAX) {
        o->command.version = version;
        return STATUS_OK;
    }
    if (o->command.kind != COMMAND_PROMOTE || text[0] == '\0')
        return ERR_SET(e, STATUS_INVALID, "'%s' is no version", text);
    return command_text(o->command.name, sizeof o->command.name, "name", str_from(text), e);
}

static enum status prepare(struct order *o, const struct cmd_line *line, enum command_kind kind, const char *reason,
                           struct err *e)
{
    o->conf = line->conf;
    if (o->conf->state_dir[0] == '\0' && o->conf->redis_url[0] == '\0')
        return ERR_SET(e, STATUS_INVALID, "where is the learner? give --redis URL, or --state DIR");
    TRY(command_new(&o->command, kind, e));
    TRY(command_text(o->command.reason, sizeof o->command.reason, "reason", str_from(reason), e));
    return line->n_args > 0 ? take_argument(o, line->args[0], e) : STATUS_OK;
}

static int run(const char *name, enum command_kind kind, const char *about, int argc, char **argv)
{
    static const char *const keys[] = {"model.name", "redis.url", "redis.password_file", "state.dir", NULL};
    struct order o = {.name = name, .wait_s = 10};
    const char *reason = "by hand";
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"model", "NAME", CMD_KEY, NULL, "model.name", "name of the model"},
        {"redis", "URL", CMD_KEY, NULL, "redis.url", "Redis of the learner that runs"},
        {"state", "DIR", CMD_KEY, NULL, "state.dir", "its state folder: at once when it runs, else at its next start"},
        {"reason", "TEXT", CMD_TEXT, &reason, NULL, "why; kept in the version log (\"by hand\")"},
        {"wait", "S", CMD_COUNT, &o.wait_s, NULL, "how long to wait for the answer (10)"},
    };
    const struct cmd_usage usage = {.command = name,
                                    .arguments = kind == COMMAND_UNPIN     ? ""
                                                 : kind == COMMAND_PROMOTE ? "[VERSION|VARIANT]"
                                                                           : "[VERSION]",
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .keys = keys,
                                    .most = kind == COMMAND_UNPIN ? 0 : 1,
                                    .about = about};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        if (prepare(&o, &line, kind, reason, &e) != STATUS_OK)
            rc = cmd_failed(name, &e) + 1; /* wrong usage */
        else if (give(&o, &e) != STATUS_OK)
            rc = cmd_failed(name, &e);
        else
            rc = say(&o);
    }
    buf_fini(&o.text);
    cmd_line_fini(&line);
    return rc;
}

int cmd_model_rollback(int argc, char **argv)
{
    return run("model rollback", COMMAND_ROLLBACK,
               "The line goes back to its blessed version (whole: weights, moments, accumulators), or to VERSION as "
               "the state\n"
               "folder keeps it (weights and dense moments), rests for gate.cooldown_ms and goes on from there.\n",
               argc, argv);
}

int cmd_model_promote(int argc, char **argv)
{
    return run("model promote", COMMAND_PROMOTE,
               "The line as it is becomes the blessed version: what it is judged against, and goes back to.  With the "
               "name of\n"
               "a variant ([variant.NAME], or default) that one is in charge from now on.\n",
               argc, argv);
}

int cmd_model_pin(int argc, char **argv)
{
    return run(
        "model pin", COMMAND_PIN,
        "The version in force, or VERSION as the state folder keeps it, stays published while learning goes on.\n",
        argc, argv);
}

int cmd_model_unpin(int argc, char **argv)
{
    return run("model unpin", COMMAND_UNPIN, "The newest version is published again.\n", argc, argv);
}
