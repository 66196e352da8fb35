/* publish_orders.c - orders to the learner, and what is said of versions besides their publication.
 *
 * The list fr:{m}:commands is looked at every PUBLISH_ORDERS_MS while the lease is ours.  An order stays in it until its answer
 * goes out, in one transaction, after the version that it led to: a learner that dies between finds it again (and knows by
 * its id what it did already).  Who orders lets the list expire, so that nothing is done hours later.
 */
#include "base/log.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <string.h>

#define ANSWER_TTL_S "60"
#define LOG_MAX "1000"
#define DENIED_US 60000000 /* a server that does not let us look is asked again so much later */

/* ---- the learner's side ---- */

bool publish_order(struct publish *p, struct command *out)
{
    bool any = false;
    if (p == NULL) return false;
    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_orders && !any; i++) {
        any = !p->orders[i].taken;
        if (!any) continue;
        p->orders[i].taken = true;
        *out = p->orders[i].command;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return any;
}

void publish_answer(struct publish *p, const struct command_answer *a)
{
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_orders; i++) {
        if (strcmp(p->orders[i].command.id, a->id) != 0) continue;
        p->orders[i].answer = *a;
        p->orders[i].answered = true;
    }
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

/* The oldest n; under lock. */
static void drop_notes(struct publish *p, size_t n)
{
    p->n_notes -= n;
    p->notes_gone += n;
    memmove(&p->notes[0], &p->notes[n], p->n_notes * sizeof p->notes[0]);
}

void publish_note(struct publish *p, const struct publish_note *n)
{
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    if (p->n_notes == PUBLISH_NOTES_MAX) drop_notes(p, 1);
    p->notes[p->n_notes++] = *n;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

bool publish_orders_work(const struct publish *p)
{
    for (size_t i = 0; i < p->n_orders; i++)
        if (p->orders[i].answered) return true;
    return p->n_notes > 0;
}

/* ---- the uploader's ---- */

static void take_order(struct publish *p, const struct command *c, struct str text)
{
    (void)pthread_mutex_lock(&p->lock);
    bool known = p->n_orders == PUBLISH_ORDERS_MAX;
    for (size_t i = 0; i < p->n_orders && !known; i++) known = strcmp(p->orders[i].command.id, c->id) == 0;
    if (!known) {
        struct publish_order *o = &p->orders[p->n_orders++];
        *o = (struct publish_order){.command = *c, .n_text = text.n};
        memcpy(o->text, text.p, text.n);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* A text that is none, which leaves the list; one that is too long takes the whole list with it. */
static enum status remove_bad(struct publish *p, const char *key, const char *text, size_t n, struct err *e)
{
    TRY(publish_fence_begin(p, e));
    if (n <= COMMAND_BYTES_MAX)
        TRY(publish_fence_add(p, e, REDIS_ARGS(STR("LREM"), str_from(key), STR("0"), ((struct str){text, n}))));
    else
        TRY(publish_fence_add(p, e, REDIS_ARGS(STR("DEL"), str_from(key))));
    p->orders_us = 0; /* what stood behind it is read at the next turn */
    return publish_fence_end(p, NULL, e);
}

/* Takes the orders of the reply until one that is none; *n_bad: its bytes, of which `bad` has as many as an order may have; 0:
 * all are. */
static void take_all(struct publish *p, const struct redis_reply *reply, char bad[COMMAND_BYTES_MAX], size_t *n_bad)
{
    struct command c;
    struct err why;
    *n_bad = 0;
    for (size_t i = 0; reply->kind == REDIS_ARRAY && i < reply->n; i++) {
        const struct str text = reply->items[i].text;
        if (reply->items[i].kind != REDIS_TEXT) continue;
        if (command_decode(&c, text, &why) == STATUS_OK) {
            take_order(p, &c, text);
            continue;
        }
        log_warn("command", "redis=%s refused=\"%s\"", redis_name(p->redis), why.text);
        memcpy(bad, text.p, text.n < COMMAND_BYTES_MAX ? text.n : COMMAND_BYTES_MAX);
        *n_bad = text.n;
        return;
    }
}

enum status publish_read_orders(struct publish *p, struct err *e)
{
    char key[KEY_MAX], last[8], bad[COMMAND_BYTES_MAX];
    const struct redis_reply *reply;
    struct err why;
    size_t n_bad;
    const int64_t now_us = p->clock->mono_us(p->clock);
    if (p->leader != NULL) p->orders_us = INT64_MAX; /* orders are its leader's */
    if (now_us < p->orders_us) return STATUS_OK;
    p->orders_us = now_us + (int64_t)PUBLISH_ORDERS_MS * 1000;
    (void)key_commands(key, p->model);
    (void)snprintf(last, sizeof last, "%d", PUBLISH_ORDERS_MAX - 1);
    const enum status st =
        redis_call(p->redis, &why, &reply, REDIS_ARGS(STR("LRANGE"), str_from(key), STR("0"), str_from(last)));
    if (st == STATUS_INVALID) {
        p->orders_us = now_us + DENIED_US;
        log_limited(LOG_WARN, "command", "redis=%s orders=\"not read: %s\"", redis_name(p->redis), why.text);
        return STATUS_OK;
    }
    if (st != STATUS_OK && e != NULL) *e = why;
    TRY(st);
    take_all(p, reply, bad, &n_bad);
    return n_bad > 0 ? remove_bad(p, key, bad, n_bad, e) : STATUS_OK;
}

static enum status add_note(struct publish *p, const struct publish_note *n, struct err *e)
{
    char key[KEY_MAX], version[24], about[24], at[24];
    (void)key_log(key, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)n->version);
    (void)snprintf(about, sizeof about, "%llu", (unsigned long long)n->about);
    (void)snprintf(at, sizeof at, "%llu", (unsigned long long)n->at);
    if (n->says_champion) TRY(publish_add_champion(p, n->champion, e));
    return publish_fence_add(p, e,
                             REDIS_ARGS(STR("XADD"), str_from(key), STR("MAXLEN"), STR("~"), STR(LOG_MAX), STR("*"),
                                        STR("kind"), str_from(n->kind), STR("version"), str_from(version), STR("about"),
                                        str_from(about), STR("sha256"), str_from(n->sha256), STR("reason"),
                                        str_from(n->reason), STR("who"), str_from(n->who), STR("at"), str_from(at)));
}

static enum status add_answer(struct publish *p, const struct publish_order *o, struct err *e)
{
    enum status st;
    struct buf answer = {0};
    char commands[KEY_MAX], key[KEY_MAX];
    (void)key_commands(commands, p->model);
    (void)key_answer(key, p->model, o->command.id);
    command_answer_encode(&answer, &o->answer);
    TRY_OUT(st, buf_status(&answer, e));
    TRY_OUT(st,
            publish_fence_add(p, e,
                              REDIS_ARGS(STR("SET"), str_from(key), ((struct str){(const char *)answer.p, answer.n}),
                                         STR("EX"), STR(ANSWER_TTL_S))));
    st = publish_fence_add(p, e,
                           REDIS_ARGS(STR("LREM"), str_from(commands), STR("0"), ((struct str){o->text, o->n_text})));
out:
    buf_fini(&answer);
    return st;
}

/* What was sent leaves the mailboxes; what came meanwhile stays. */
static void drop_sent(struct publish *p, const struct publish_sending *sent)
{
    (void)pthread_mutex_lock(&p->lock);
    if (sent->notes_end > p->notes_gone) drop_notes(p, (size_t)(sent->notes_end - p->notes_gone));
    for (size_t k = 0; k < sent->n_orders; k++) {
        size_t i = 0;
        while (i < p->n_orders && strcmp(p->orders[i].command.id, sent->orders[k].command.id) != 0) i++;
        if (i == p->n_orders) continue;
        p->n_orders--;
        memmove(&p->orders[i], &p->orders[i + 1], (p->n_orders - i) * sizeof p->orders[0]);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

enum status publish_send_answers(struct publish *p, struct err *e)
{
    struct publish_sending *s = &p->sending_orders;
    (void)pthread_mutex_lock(&p->lock);
    const bool ready = p->waiting == NULL; /* else the version that an answer speaks of is not there yet */
    s->n_notes = ready ? p->n_notes : 0;
    s->notes_end = p->notes_gone + s->n_notes;
    memcpy(s->notes, p->notes, s->n_notes * sizeof s->notes[0]);
    s->n_orders = 0;
    for (size_t i = 0; ready && i < p->n_orders; i++)
        if (p->orders[i].answered) s->orders[s->n_orders++] = p->orders[i];
    (void)pthread_mutex_unlock(&p->lock);
    if (s->n_notes + s->n_orders == 0) return STATUS_OK;
    TRY(publish_fence_begin(p, e));
    for (size_t i = 0; i < s->n_notes; i++) TRY(add_note(p, &s->notes[i], e));
    for (size_t i = 0; i < s->n_orders; i++) TRY(add_answer(p, &s->orders[i], e));
    TRY(publish_fence_end(p, NULL, e));
    drop_sent(p, s);
    return STATUS_OK;
}
