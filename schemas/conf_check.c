/* conf_check.c - what values must be beyond their ranges, keys that belong together, and small parsers of values.
 *
 * Single text keys are checked when they are set (conf_check_text), so that the error names path:line; rules over
 * several keys are checked once everything is read (conf_check).
 */
#include "base/clock.h"
#include "base/utf8.h"
#include "schemas/conf_table.h"
#include "schemas/conf_variant.h"
#include "schemas/event.h"
#include "schemas/report.h"
#include "schemas/slate.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_NAME_MAX 42 /* "type." and the name are an INI file's section, which has at most 47 bytes */

#define DISTANCE_MAX 200

size_t conf_edit_distance(const char *a, const char *b)
{
    size_t row[DISTANCE_MAX + 1];
    const size_t na = strlen(a), nb = strlen(b);
    if (na > DISTANCE_MAX || nb > DISTANCE_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            if (change < best) best = change;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

const struct conf_key *conf_key_find(const char *key)
{
    for (size_t i = 0; i < conf_n_keys; i++)
        if (strcmp(conf_keys[i].key, key) == 0) return &conf_keys[i];
    return NULL;
}

const char *conf_label_name(enum conf_label l)
{
    static const char *const names[] = {"none", "positive", "negative"};
    return names[l];
}

enum status conf_check_line(const char *key, const char *value, struct err *e)
{
    const size_t n = strlen(value);
    if (strlen(key) >= CONF_KEY_MAX)
        return ERR_SET(e, STATUS_INVALID, "key '%.40s...' is longer than %d bytes", key, CONF_KEY_MAX - 1);
    for (const char *p = key; *p != 0; p++)
        if ((unsigned char)*p <= ' ' || strchr("=:[];#\x7f", *p) != NULL)
            return ERR_SET(e, STATUS_INVALID, "key '%s': the character '%c' cannot be part of a key", key,
                           (unsigned char)*p < ' ' ? '?' : *p);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
            return ERR_SET(e, STATUS_INVALID, "%s: byte %zu of the value is a control character (0x%02x)", key, i + 1,
                           (unsigned char)value[i]);
    if (n > 0 && (value[0] == ' ' || value[n - 1] == ' '))
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' begins or ends with a blank, which an INI file cannot hold", key,
                       value);
    if (strstr(value, " ;") != NULL || value[0] == ';')
        return ERR_SET(e, STATUS_INVALID, "%s: '%s': a semicolon after a blank starts a comment in an INI file", key,
                       value);
    return STATUS_OK;
}

/* ---- single text keys ---- */

static enum status check_model_name(const char *key, const char *v, struct err *e)
{
    if (*v == 0) return ERR_SET(e, STATUS_INVALID, "%s: must not be empty", key);
    for (const char *p = v; *p != 0; p++)
        if (!isalnum((unsigned char)*p) && strchr("_.-", *p) == NULL)
            return ERR_SET(e, STATUS_INVALID,
                           "%s: '%s' may hold letters, digits, '_', '.' and '-' only (it names Redis keys)", key, v);
    return STATUS_OK;
}

bool conf_list_next(const char **at, struct str *word)
{
    if (*at == NULL) return false;
    const char *p = *at, *comma = strchr(p, ',');
    size_t n = comma != NULL ? (size_t)(comma - p) : strlen(p);
    *at = comma != NULL ? comma + 1 : NULL;
    while (n > 0 && *p == ' ') p++, n--;
    while (n > 0 && p[n - 1] == ' ') n--;
    *word = (struct str){p, n};
    return true;
}

bool conf_reads_text(const struct conf *c)
{
    return conf_list_has(c->model_parts, "text") || conf_list_has(c->model_parts, "match");
}

bool conf_list_has(const char *list, const char *word)
{
    struct str w;
    for (const char *at = list; conf_list_next(&at, &w);)
        if (w.n > 0 && str_is(w, word)) return true;
    return false;
}

static enum status check_parts(const char *key, const char *v, struct err *e)
{
    static const char *const known[] = {"text", "match", "numeric", "cooccur", "hashed", "idvec", "itembias", "deep"};
    unsigned seen = 0;
    struct str w;
    for (const char *at = v; conf_list_next(&at, &w);) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && !str_is(w, known[i])) i++;
        if (i == sizeof known / sizeof *known)
            return ERR_SET(e, STATUS_INVALID,
                           "%s: '" STR_FMT
                           "' is not a part; there are text, match, numeric, cooccur, hashed, idvec, itembias, deep",
                           key, STR_ARG(w));
        if ((seen >> i & 1) != 0)
            return ERR_SET(e, STATUS_INVALID, "%s: '" STR_FMT "' is there twice", key, STR_ARG(w));
        seen |= 1u << i;
    }
    return STATUS_OK;
}

static enum status check_names(const char *key, const char *v, struct err *e)
{
    struct str w;
    for (const char *at = v; conf_list_next(&at, &w);)
        if (w.n == 0)
            return ERR_SET(e, STATUS_INVALID, "%s: '%s' has an empty name; names are separated by single commas", key,
                           v);
    return STATUS_OK;
}

static enum status check_monitors(const char *key, const char *v, struct err *e)
{
    static const char *const known[] = {"labels", "volume", "scores", "schema", "rejects", "loss"};
    struct str w;
    for (const char *at = v; *v != 0 && conf_list_next(&at, &w);) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && !str_is(w, known[i])) i++;
        if (i == sizeof known / sizeof *known)
            return ERR_SET(e, STATUS_INVALID,
                           "%s: '" STR_FMT "' is no monitor; there are labels, volume, scores, schema, rejects, loss",
                           key, STR_ARG(w));
    }
    return STATUS_OK;
}

static enum status check_half_lives(const char *key, const char *v, struct err *e)
{
    double hours[4];
    return conf_numbers(v, hours, 4, key, e);
}

static enum status check_cuts(const char *key, const char *v, struct err *e)
{
    double k[REPORT_K_MAX];
    size_t n = 1;
    for (const char *p = v; *p != 0; p++) n += *p == ',';
    if (n > REPORT_K_MAX)
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' has %zu numbers, at most %d are possible", key, v, n, REPORT_K_MAX);
    TRY(conf_numbers(v, k, n, key, e));
    for (size_t i = 0; i < n; i++) {
        if (!(k[i] >= 1.0 && k[i] <= REPORT_K_LARGEST) || k[i] != floor(k[i]))
            return ERR_SET(e, STATUS_INVALID, "%s: %g is not a whole number from 1 to %d", key, k[i], REPORT_K_LARGEST);
        for (size_t j = 0; j < i; j++)
            if (k[j] == k[i]) return ERR_SET(e, STATUS_INVALID, "%s: '%s' names %g twice", key, v, k[i]);
    }
    return STATUS_OK;
}

/* As job/segment.c reads them: blanks separate too. */
static enum status check_segments(const char *key, const char *v, struct err *e)
{
    static const char *const of[] = {"user.", "item.", "context."};
    size_t count = 0;
    struct str w;
    for (const char *at = v; str_next_word(&at, &w); count++) {
        size_t i = 0;
        while (i < 3 && (w.n <= strlen(of[i]) || strncmp(w.p, of[i], strlen(of[i])) != 0)) i++;
        if (i == 3 || w.n >= 64)
            return ERR_SET(e, STATUS_INVALID,
                           "%s: '%.*s' is not user.NAME, item.NAME or context.NAME (shorter than 64 bytes)", key,
                           w.n < 100 ? (int)w.n : 100, w.p);
    }
    if (count <= SLATE_SEGMENTS_MAX) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "%s: '%s' names %zu attributes, at most %d are possible", key, v, count,
                   SLATE_SEGMENTS_MAX);
}

/* As event times are read: a number that can only be seconds is no time in milliseconds. */
static enum status check_start_ms(const char *key, const char *v, long long ms, struct err *e)
{
    if (ms >= EVENT_SECONDS_BELOW) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "%s: '%s' can only be seconds; give milliseconds since 1970 (%lld000) or RFC 3339", key, v, ms);
}

static enum status check_start(const char *key, const char *v, struct err *e)
{
    int64_t ms;
    char *end;
    if (strcmp(v, "checkpoint") == 0 || strcmp(v, "earliest") == 0 || strcmp(v, "latest") == 0) return STATUS_OK;
    if (strncmp(v, "last=", 5) == 0) {
        struct err why = {0};
        const enum status st = conf_duration_ms(v + 5, &ms, &why);
        if (st != STATUS_OK) return ERR_SET(e, st, "%s: %s", key, why.text);
        return ms > 0 ? st : ERR_SET(e, STATUS_INVALID, "%s: '%s' is no time at all; latest means from now on", key, v);
    }
    if (strncmp(v, "ts=", 3) == 0) {
        errno = 0;
        const long long plain = strtoll(v + 3, &end, 10);
        if (end != v + 3 && *end == 0 && errno == 0 && plain >= 0) return check_start_ms(key, v, plain, e);
        if (clock_parse_rfc3339(str_from(v + 3), &ms)) return STATUS_OK;
    }
    return ERR_SET(
        e, STATUS_INVALID,
        "%s: '%s' is none of checkpoint, earliest, latest, ts=<RFC 3339 time or ms since 1970>, last=<duration>", key,
        v);
}

static enum status check_redis_url(const char *key, const char *v, struct err *e)
{
    if (*v == 0) return STATUS_OK;
    if (strncmp(v, "unix:/", 6) == 0 && v[6] != 0) return STATUS_OK;
    if (strncmp(v, "redis://", 8) == 0 && v[8] != 0 && strchr(v + 8, '@') == NULL) return STATUS_OK;
    if (strchr(v, '@') != NULL)
        return ERR_SET(e, STATUS_INVALID, "%s: a password has no place in the address; use redis.password_file", key);
    return ERR_SET(e, STATUS_INVALID, "%s: '%s' is neither unix:/path nor redis://host:port/db", key, v);
}

static enum status check_listen(const char *key, const char *v, struct err *e)
{
    char *end;
    const char *colon = strrchr(v, ':');
    if (colon != NULL && colon != v && isdigit((unsigned char)colon[1])) {
        const long port = strtol(colon + 1, &end, 10);
        if (*end == 0 && port <= 65535) return STATUS_OK;
    }
    return ERR_SET(e, STATUS_INVALID, "%s: '%s' is not address:port with a port of 0 to 65535", key, v);
}

/* It stands among other settings that commas part (kern_name). */
static enum status check_no_comma(const char *key, const char *v, struct err *e)
{
    if (strchr(v, ',') == NULL) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "%s: '%s' has a comma in it; choose a folder without one", key, v);
}

enum status conf_check_text(const char *key, const char *value, struct err *e)
{
    static const struct {
        const char *key;
        enum status (*check)(const char *key, const char *value, struct err *e);
    } checks[] = {
        {"model.name", check_model_name},      {"model.parts", check_parts},
        {"model.features", check_names},       {"counter.half_lives_hours", check_half_lives},
        {"ingest.topics", check_names},        {"ingest.start", check_start},
        {"guard.pause_on", check_monitors},    {"guard.rollback_on", check_monitors},
        {"redis.url", check_redis_url},        {"serving.listen", check_listen},
        {"kernels.plans_dir", check_no_comma}, {"eval.k", check_cuts},
        {"eval.segments", check_segments},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (strcmp(key, checks[i].key) == 0) return checks[i].check(key, value, e);
    return STATUS_OK;
}

enum status conf_check_type_name(const char *key, struct str name, struct err *e)
{
    if (name.n == 0 || name.n > TYPE_NAME_MAX || !utf8_valid(name))
        return ERR_SET(e, STATUS_INVALID, "%s: a type's name has 1 to %d bytes of UTF-8", key, TYPE_NAME_MAX);
    if (str_is(name, "item") || str_is(name, "user") || str_is(name, "impression"))
        return ERR_SET(e, STATUS_INVALID, "%s: '" STR_FMT "' events are no behaviours and have no label", key,
                       STR_ARG(name));
    return STATUS_OK;
}

/* ---- keys that belong together ---- */

static enum status check_forgetting(const struct conf *c, struct err *e)
{
    if (c->train_distill > 0 && c->gate_share <= 0)
        return ERR_SET(
            e, STATUS_INVALID,
            "train.distill = %g learns what the gate's blessed version says, and gate.share = 0 has none; set "
            "gate.share above 0 or train.distill = 0",
            c->train_distill);
    if (c->train_l2_sp > 0 && c->gate_share <= 0 && strcmp(c->train_l2_sp_anchor, "blessed") == 0)
        return ERR_SET(e, STATUS_INVALID,
                       "train.l2_sp_anchor = blessed, and gate.share = 0 blesses nothing; set gate.share above 0 or "
                       "train.l2_sp_anchor = pretrained");
    if (c->train_replay_share > 0 && strcmp(c->join_loss, "wait") != 0)
        return ERR_SET(
            e, STATUS_INVALID,
            "train.replay_share = %g with join.loss = %s: early copies are weighed by the model as it was, so "
            "they can't be learnt again; set join.loss = wait or train.replay_share = 0",
            c->train_replay_share, c->join_loss);
    return STATUS_OK;
}

static enum status check_join(const struct conf *c, struct err *e)
{
    if (strcmp(c->join_loss, "importance") == 0 && c->join_wait_ms >= c->join_window_ms)
        return ERR_SET(e, STATUS_INVALID,
                       "join.wait_ms = %lld is not before join.window_ms = %lld; lower it, or set join.loss = wait",
                       (long long)c->join_wait_ms, (long long)c->join_window_ms);
    if (strcmp(c->join_loss, "wait") != 0 && c->join_cascade)
        return ERR_SET(e, STATUS_INVALID,
                       "join.cascade = true with join.loss = %s: which items were looked at is known only when the "
                       "window ends; set join.loss = wait or join.cascade = false",
                       c->join_loss);
    if (strcmp(c->join_loss, "wait") != 0 && c->model_position)
        return ERR_SET(e, STATUS_INVALID,
                       "model.position = true with join.loss = %s: early copies are weighed by scores, which know no "
                       "place; set join.loss = wait or model.position = false",
                       c->join_loss);
    return STATUS_OK;
}

/* Letters that are read again are refused again, and make letters without end. */
static enum status check_topics(const struct conf *c, struct err *e)
{
    const char *letters = strncmp(c->ingest_dead_letters, "topic:", 6) == 0 ? c->ingest_dead_letters + 6 : NULL;
    struct str topic, other;
    if (letters != NULL && *letters == 0)
        return ERR_SET(e, STATUS_INVALID, "ingest.dead_letters = topic: names no topic; say topic:NAME");
    for (const char *at = c->ingest_topics; conf_list_next(&at, &topic);) {
        if (letters != NULL && str_is(topic, letters))
            return ERR_SET(e, STATUS_INVALID,
                           "ingest.dead_letters = %s is one of ingest.topics = %s: what is refused would be read again "
                           "without end; name another topic",
                           c->ingest_dead_letters, c->ingest_topics);
        for (const char *rest = at; conf_list_next(&rest, &other);)
            if (str_eq(topic, other))
                return ERR_SET(e, STATUS_INVALID, "ingest.topics = %s names " STR_FMT " twice", c->ingest_topics,
                               STR_ARG(topic));
    }
    return STATUS_OK;
}

enum status conf_check(const struct conf *c, struct err *e)
{
    const bool user_concat = strcmp(c->model_user_view, "concat") == 0;
    const bool item_concat = strcmp(c->model_item_view, "concat") == 0;
    if (user_concat != item_concat)
        return ERR_SET(
            e, STATUS_INVALID,
            "model.user_view = %s with model.item_view = %s: concat reads user and item as one text, so set both "
            "or neither",
            c->model_user_view, c->model_item_view);
    if (c->model_events > c->history_events)
        return ERR_SET(
            e, STATUS_INVALID,
            "model.events = %lld reads more than history.events = %lld remembers; raise the latter or lower the "
            "former",
            (long long)c->model_events, (long long)c->history_events);
    TRY(conf_check_tasks(c, e));
    if (c->train_step_slates > 0 && c->train_ranks > 1)
        return ERR_SET(e, STATUS_INVALID,
                       "train.step_slates = %lld with train.ranks = %lld: ranks make one step a batch together; set "
                       "train.step_slates = 0",
                       (long long)c->train_step_slates, (long long)c->train_ranks);
    if (c->train_rank >= c->train_ranks)
        return ERR_SET(e, STATUS_INVALID, "train.rank = %lld with train.ranks = %lld: the ranks are 0 to %lld",
                       (long long)c->train_rank, (long long)c->train_ranks, (long long)c->train_ranks - 1);
    if (strcmp(c->ingest_schema, "csv") == 0 && c->ingest_map[0] == 0)
        return ERR_SET(e, STATUS_INVALID,
                       "ingest.schema = csv needs ingest.map, the field map (deploy/maps/ has examples)");
    TRY(check_topics(c, e));
    TRY(check_join(c, e));
    TRY(check_forgetting(c, e));
    if (c->train_follow_ms > 0 && c->n_variants > 0)
        return ERR_SET(e, STATUS_INVALID,
                       "train.follow_ms belongs into a [variant.NAME]: the base configuration learns");
    if (strcmp(c->serving_explore, "thompson") == 0 && c->train_numeric_order != 2 && c->n_variants == 0)
        return ERR_SET(
            e, STATUS_INVALID,
            "serving.explore = thompson draws from the precision that train.numeric_order = 2 learns; it is %lld",
            (long long)c->train_numeric_order);
    return conf_variants_check(c, e);
}

/* ---- small parsers ---- */

enum status conf_numbers(const char *list, double *out, size_t n, const char *key, struct err *e)
{
    struct str w;
    size_t found = 0;
    for (const char *at = list; conf_list_next(&at, &w); found++) {
        char text[32] = "", *end = text;
        if (w.n > 0 && w.n < sizeof text && w.p[0] != '-' && isdigit((unsigned char)w.p[w.n - 1])) {
            memcpy(text, w.p, w.n);
            text[w.n] = 0;
        }
        const double v = strtod(text, &end);
        if (end == text || *end != 0 || !isfinite(v) || v <= 0 || strpbrk(text, "xXpP") != NULL)
            return ERR_SET(e, STATUS_INVALID, "%s: '" STR_FMT "' is not a number above 0", key, STR_ARG(w));
        if (found < n) out[found] = v;
    }
    if (found != n)
        return ERR_SET(e, STATUS_INVALID, "%s: '%s' has %zu numbers, exactly %zu are needed", key, list, found, n);
    return STATUS_OK;
}

enum status conf_duration_ms(const char *text, int64_t *out, struct err *e)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (end == text || !isdigit((unsigned char)text[0]) || errno != 0 || v < 0) goto bad;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        int64_t ms;
        if (strcmp(end, units[i].unit) != 0) continue;
        if (__builtin_mul_overflow((int64_t)v, units[i].ms, &ms)) break;
        *out = ms;
        return STATUS_OK;
    }
bad:
    return ERR_SET(e, STATUS_INVALID, "'%s' is not a duration like 250ms, 90s, 15m, 2h or 7d", text);
}
