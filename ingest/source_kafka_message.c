/* source_kafka_message.c - one message as a record: its bytes kept, its headers as JSON, its event parsed. */
#include "base/hash.h"
#include "ingest/preset.h"
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_headers.h"
#include <librdkafka/rdkafka.h>

uint64_t source_kafka_mark(const rd_kafka_message_t *m)
{
    /* absent and empty are two things */
    const uint64_t key = m->key != NULL ? hash_seeded(m->key, m->key_len, 1) : 1;
    const uint64_t value = m->payload != NULL ? hash_seeded(m->payload, m->len, 2) : 2;
    const uint64_t mark = hash_mix(key, value);
    return mark != 0 ? mark : 1;
}

static bool keep(struct arena *a, struct str s, struct str *out)
{
    *out = s.p != NULL ? arena_str(a, s) : s;
    return s.p == NULL || out->p != NULL;
}

static enum status keep_raw(struct source_kafka *s, const rd_kafka_message_t *m, uint32_t topic, struct arena *a,
                            struct source_record *rec, struct err *e)
{
    struct str text;
    TRY(source_kafka_headers(&s->headers, m, NULL, &text, e));
    rec->raw.time_ms = rd_kafka_message_timestamp(m, NULL);
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
