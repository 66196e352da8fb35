/* command.c - see command.h. */
#include "schemas/command.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "schemas/event_json.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const char *const names[COMMAND_KINDS] = {"rollback", "promote", "pin", "unpin"};

const char *command_kind_name(enum command_kind k)
{
    return names[k];
}

static void fill_who(char out[COMMAND_WHO])
{
    char host[80] = "";
    const struct passwd *p = getpwuid(getuid());
    (void)gethostname(host, sizeof host - 1);
    if (p != NULL)
        (void)snprintf(out, COMMAND_WHO, "%.60s@%s pid %ld", p->pw_name, host, (long)getpid());
    else
        (void)snprintf(out, COMMAND_WHO, "uid %ld@%s pid %ld", (long)getuid(), host, (long)getpid());
}

enum status command_new(struct command *c, enum command_kind kind, struct err *e)
{
    unsigned char bytes[(COMMAND_ID - 1) / 2];
    struct clock *clock = clock_system();
    *c = (struct command){.kind = kind, .wall_ms = clock->wall_ms(clock)};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return ERR_SET(e, STATUS_IO, "no random numbers for an order's id: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++) (void)snprintf(c->id + 2 * i, 3, "%02x", bytes[i]);
    fill_who(c->who);
    return STATUS_OK;
}

static void put_text(struct buf *b, const char *key, const char *text)
{
    buf_printf(b, ",\"%s\":", key);
    event_json_string(b, str_from(text));
}

void command_encode(struct buf *b, const struct command *c)
{
    buf_printf(b, "{\"id\":\"%s\",\"kind\":\"%s\",\"version\":%llu,\"wall_ms\":%lld", c->id, names[c->kind],
               (unsigned long long)c->version, (long long)c->wall_ms);
    put_text(b, "name", c->name);
    put_text(b, "who", c->who);
    put_text(b, "reason", c->reason);
    buf_u8(b, '}');
}

void command_answer_encode(struct buf *b, const struct command_answer *a)
{
    buf_printf(b, "{\"id\":\"%s\",\"ok\":%s,\"version\":%llu", a->id, a->ok ? "true" : "false",
               (unsigned long long)a->version);
    put_text(b, "text", a->text);
    buf_u8(b, '}');
}

enum status command_not_newest(const struct command *c, uint64_t newest, struct err *e)
{
    return ERR_SET(e, STATUS_INVALID,
                   "promote blesses the line as it is, whose newest version is %llu; to go back to %llu use rollback",
                   (unsigned long long)newest, (unsigned long long)c->version);
}

static enum status bad(struct err *e, const char *field)
{
    return ERR_SET(e, STATUS_CORRUPT, "order: its field \"%s\" is missing or not valid", field);
}

enum status command_text(char *out, size_t size, const char *field, struct str text, struct err *e)
{
    bool ok = text.n < size && utf8_valid(text);
    for (size_t i = 0; i < text.n && ok; i++) ok = (unsigned char)text.p[i] >= ' ' && text.p[i] != 127;
    if (!ok)
        return ERR_SET(e, STATUS_CORRUPT,
                       "order: its field \"%s\" is not valid: it is text of at most %zu bytes of UTF-8 without control "
                       "characters, in one line",
                       field, size - 1);
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return STATUS_OK;
}

static enum status get_text(const json_t *o, const char *field, char *out, size_t size, struct err *e)
{
    const json_t *v = json_object_get(o, field);
    if (!json_is_string(v)) return bad(e, field);
    return command_text(out, size, field, (struct str){json_string_value(v), json_string_length(v)}, e);
}

static enum status get_number(const json_t *o, const char *field, int64_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, field);
    if (!json_is_integer(v) || json_integer_value(v) < 0) return bad(e, field);
    *out = (int64_t)json_integer_value(v);
    return STATUS_OK;
}

static enum status get_id(const json_t *o, char out[COMMAND_ID], struct err *e)
{
    TRY(get_text(o, "id", out, COMMAND_ID, e));
    return strlen(out) == COMMAND_ID - 1 && strspn(out, "0123456789abcdef") == COMMAND_ID - 1 ? STATUS_OK
                                                                                              : bad(e, "id");
}

static enum status load(json_t **out, struct str json, struct err *e)
{
    json_error_t why;
    if (json.n > COMMAND_BYTES_MAX)
        return ERR_SET(e, STATUS_CORRUPT, "order: %zu bytes, at most %d", json.n, COMMAND_BYTES_MAX);
    *out = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &why);
    if (*out == NULL) return ERR_SET(e, STATUS_CORRUPT, "order: not JSON: %s", why.text);
    if (json_is_object(*out)) return STATUS_OK;
    json_decref(*out);
    *out = NULL;
    return ERR_SET(e, STATUS_CORRUPT, "order: no JSON object");
}

static enum status get_command(struct command *c, const json_t *o, struct err *e)
{
    char kind[16];
    int64_t version = 0;
    int k = 0;
    TRY(get_id(o, c->id, e));
    TRY(get_text(o, "kind", kind, sizeof kind, e));
    while (k < COMMAND_KINDS && strcmp(names[k], kind) != 0) k++;
    if (k == COMMAND_KINDS) return bad(e, "kind");
    c->kind = (enum command_kind)k;
    TRY(get_number(o, "version", &version, e));
    TRY(get_number(o, "wall_ms", &c->wall_ms, e));
    c->version = (uint64_t)version;
    TRY(get_text(o, "name", c->name, sizeof c->name, e));
    TRY(get_text(o, "who", c->who, sizeof c->who, e));
    return get_text(o, "reason", c->reason, sizeof c->reason, e);
}

enum status command_decode(struct command *c, struct str json, struct err *e)
{
    json_t *o;
    *c = (struct command){0};
    TRY(load(&o, json, e));
    const enum status st = get_command(c, o, e);
    json_decref(o);
    return st;
}

static enum status get_answer(struct command_answer *a, const json_t *o, struct err *e)
{
    int64_t version = 0;
    const json_t *ok = json_object_get(o, "ok");
    TRY(get_id(o, a->id, e));
    if (!json_is_boolean(ok)) return bad(e, "ok");
    a->ok = json_is_true(ok);
    TRY(get_number(o, "version", &version, e));
    a->version = (uint64_t)version;
    return get_text(o, "text", a->text, sizeof a->text, e);
}

enum status command_answer_decode(struct command_answer *a, struct str json, struct err *e)
{
    json_t *o;
    *a = (struct command_answer){0};
    TRY(load(&o, json, e));
    const enum status st = get_answer(a, o, e);
    json_decref(o);
    return st;
}
