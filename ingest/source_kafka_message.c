/* source_kafka_message.c - one message as a record: its bytes kept, its headers as JSON, its event parsed. */
#include "base/hash.h"
#include "ingest/parse_text.h"
#include "ingest/preset.h"
#include "ingest/reject_letter.h"
#include "ingest/source_kafka.h"
#include <librdkafka/rdkafka.h>
#include <string.h>

#define HEADERS_MAX 64

uint64_t source_kafka_mark(const rd_kafka_message_t *m)
{
    /* absent and empty are two things */
    const uint64_t key = m->key != NULL ? hash_seeded(m->key, m->key_len, 1) : 1;
    const uint64_t value = m->payload != NULL ? hash_seeded(m->payload, m->len, 2) : 2;
    const uint64_t mark = hash_mix(key, value);
    return mark != 0 ? mark : 1;
}

/* A name that came before, or that is not UTF-8, can't be a member of a JSON object. */
static bool header_usable(rd_kafka_headers_t *headers, size_t index, const char *name)
{
    const char *earlier;
    const void *value;
    size_t n;
    for (size_t i = 0; i < index; i++)
        if (rd_kafka_header_get_all(headers, i, &earlier, &value, &n) == 0 && strcmp(earlier, name) == 0) return false;
    return parse_utf8_valid(str_from(name));
}

/* The message's headers as a JSON object; a value that is not text is null. */
static void put_headers(struct source_kafka *s, rd_kafka_headers_t *headers)
{
    const char *name;
    const void *value;
    size_t n;
    buf_clear(&s->headers);
    buf_u8(&s->headers, '{');
    for (size_t i = 0; i < HEADERS_MAX && rd_kafka_header_get_all(headers, i, &name, &value, &n) == 0; i++) {
        const struct str text = {value, n};
        if (!header_usable(headers, i, name)) continue;
        if (s->headers.n > 1) buf_u8(&s->headers, ',');
        reject_put_text(&s->headers, str_from(name));
        buf_u8(&s->headers, ':');
        reject_put_text(&s->headers, parse_utf8_valid(text) ? text : (struct str){NULL, 0});
    }
    buf_u8(&s->headers, '}');
}

static bool keep(struct arena *a, struct str s, struct str *out)
{
    *out = s.p != NULL ? arena_str(a, s) : s;
    return s.p == NULL || out->p != NULL;
}

static enum status keep_raw(struct source_kafka *s, const rd_kafka_message_t *m, uint32_t topic, struct arena *a,
                            struct source_record *rec, struct err *e)
{
    rd_kafka_headers_t *headers = NULL;
    struct str text = {NULL, 0};
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        put_headers(s, headers);
        TRY(buf_status(&s->headers, e));
        text = (struct str){(const char *)s->headers.p, s->headers.n};
    }
    rec->raw.topic = str_from(s->topics[topic].name);
    if (keep(a, rec->raw.topic, &rec->raw.topic) && keep(a, text, &rec->raw.headers) &&
        keep(a, (struct str){m->key, m->key_len}, &rec->raw.key) &&
        keep(a, (struct str){m->payload, m->len}, &rec->raw.value))
        return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "kafka: no memory to keep a message of %zu bytes", m->len);
}

enum status source_kafka_record(struct source_kafka *s, const rd_kafka_message_t *m, struct source_kafka_part *p,
                                struct arena *a, struct source_record *rec, struct err *e)
{
    *rec = (struct source_record){.at = {p->topic, p->partition, (uint64_t)m->offset}, .mark = source_kafka_mark(m)};
    TRY(keep_raw(s, m, p->topic, a, rec, e));
    const struct arena_mark mark = arena_save(a);
    TRY(preset_parse(s->preset, rec->raw.value, a, rec, e));
    if (rec->kind != SOURCE_EVENT) {
        arena_rewind(a, mark);
        rec->event = (struct event){0};
    }
    rec->event.at = rec->at;
    return STATUS_OK;
}
