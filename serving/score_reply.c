/* score_reply.c - an answer as JSON (DESIGN "HTTP"), written straight into the reply's buffer. */
#include "schemas/event_json.h"
#include "serving/score_private.h"
#include "serving/score_text.h"
#include <math.h>

/* Probability of each task. */
static void write_tasks(const struct score_hand *h, const struct score_answer *a, const struct score_ranked *r,
                        struct buf *b)
{
    const size_t n = model_n_tasks(h->line->model), K = h->request.n_items;
    if (n == 0) return;
    score_text_put(b, ",\"tasks\":{");
    for (size_t t = 0; t < n; t++) {
        const double z = (double)a->part_logits[(a->n_parts + t) * K + r->index];
        buf_printf(b, "%s\"%s\":", t ? "," : "", model_task_name(h->line->model, t));
        score_text_float(b, (float)(1.0 / (1.0 + exp(-z))));
    }
    score_text_put(b, "}");
}

static void write_parts(const struct score_hand *h, const struct score_answer *a, const struct score_ranked *r,
                        struct buf *b)
{
    score_text_put(b, ",\"logit\":");
    score_text_float(b, r->logit);
    score_text_put(b, ",\"parts\":{");
    for (uint32_t p = 0; p < a->n_parts; p++) {
        buf_printf(b, "%s\"%s\":", p ? "," : "", model_part_name(h->line->model, p));
        score_text_float(b, a->part_logits[(size_t)p * h->request.n_items + r->index]);
    }
    score_text_put(b, "}");
    write_tasks(h, a, r, b);
}

static void write_items(const struct score_hand *h, const struct score_answer *a, struct buf *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const struct score_ranked *r = &a->items[i];
        score_text_put(b, i ? ",{\"item\":" : "{\"item\":");
        event_json_string(b, h->request.items[r->index].id);
        score_text_put(b, ",\"score\":");
        score_text_float(b, r->score);
        score_text_put(b, ",\"rank\":");
        score_text_u64(b, i + 1);
        score_text_put(b, r->known ? ",\"known\":true" : ",\"known\":false");
        if (r->propensity > 0.0f) {
            score_text_put(b, ",\"propensity\":");
            score_text_float(b, r->propensity);
        }
        if (h->request.explain) write_parts(h, a, r, b);
        buf_u8(b, (uint8_t)'}');
    }
}

void score_write_answer(const struct score_hand *h, const struct score_answer *a, struct buf *b)
{
    const struct publish_manifest *m = &a->version->manifest;
    const int64_t age_ms =
        h->s->clock->wall_ms(h->s->clock) - m->published_wall_ms; /* clocks of two hosts may differ */
    score_text_put(b, "{\"request\":");
    event_json_string(b, str_from(a->request));
    score_text_put(b, ",\"items\":[");
    write_items(h, a, b);
    buf_printf(b, "],\"user_known\":%s,%s%s\"model\":{\"name\":", a->user_known ? "true" : "false",
               a->degraded ? "\"degraded\":true," : "", a->explored ? "\"explored\":true," : "");
    event_json_string(b, str_from(h->s->conf->model_name));
    buf_printf(b, ",\"version\":%llu,\"sha256\":\"%s\",\"age_ms\":%lld,\"watermark\":", (unsigned long long)m->version,
               m->sha256, (long long)(age_ms > 0 ? age_ms : 0));
    score_text_time(b, m->watermark_ms);
    buf_printf(b, ",\"variant\":\"%s\"}}", h->line->name);
}
