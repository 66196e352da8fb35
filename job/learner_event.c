/* learner_event.c - what one record does: complete what is due, score, take in, learn. */
#include "base/hash.h"
#include "base/mem.h"
#include "job/learner_private.h"
#include "trainer/eval_lists.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* l->slate has its labels: evaluate with what was predicted at its opening, then let the world know. */
static enum status settle_slate(struct learner *l, const struct open_predictions *p, struct err *e)
{
    struct slate *s = l->slate;
    const bool counted = !s->cut_off && eval_counts(&l->options.warmup, l->counts.slates, s->time_ms - l->first_ms);
    const struct learner_seen seen = {s, p->logits, p->part_logits, p->frozen, model_n_parts(l->line->model), counted};
    l->counts.slates++;
    l->counts.examples += s->n_items;
    if (l->settled != NULL) {
        TRY(l->settled(l->settled_user, s, e));
        if (s->settled_ms > l->settled_ms) l->settled_ms = s->settled_ms;
        return world_settled(l->world, s, e);
    }
    TRY(line_evaluate(l->line, s, p, l->first_ms, e));
    TRY(variants_settle(l->variants, s, p, l->first_ms, e));
    TRY(learner_served_settled(l, s, p, counted, e));
    if (l->seen != NULL) TRY(l->seen(l->seen_user, &seen, e));
    if (s->settled_ms > l->settled_ms) l->settled_ms = s->settled_ms;
    if (guard_counts(l->guard)) TRY(world_settled(l->world, s, e));
    TRY(learner_guard_settled(l, p, e));
    return guard_lets(l->guard, s) ? learner_judge(l, s, p, e) : STATUS_OK;
}

void learner_label(struct slate *s, const struct join_settled *done)
{
    for (uint32_t i = 0; i < s->n_items; i++) {
        s->items[i].label = done->labels[i];
        s->items[i].weight = done->weights[i];
        s->items[i].tasks = done->tasks[i];
    }
}

/* Only the first n_seen items count. */
static enum status cut(struct learner *l, const struct join_settled *done, struct open_predictions *p, struct err *e)
{
    uint8_t *keep = arena_alloc(l->slate->arena, done->n, 1);
    if (keep == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", done->n);
    memset(keep, 1, done->n_seen);
    slate_keep(l->slate, keep);
    l->slate->n_unseen = done->n - done->n_seen;
    open_predictions_cut(p, done->n, done->n_seen);
    return STATUS_OK;
}

static enum status settle_ended(struct learner *l, const struct join_settled *done, struct err *e)
{
    struct open_predictions p = {0};
    slate_reset(l->slate);
    const enum status st = open_take(l->open, done->slate, l->slate, &p, e);
    if (st == STATUS_NOT_FOUND || l->slate->n_items != done->n)
        return ERR_SET(e, STATUS_CORRUPT, "slate %llu is due but not among the open ones",
                       (unsigned long long)done->slate);
    TRY(st);
    learner_label(l->slate, done);
    l->slate->cut_off = done->due_ms >= watermark_ms(l->watermark);
    if (l->settled == NULL) {
        line_estimate(l->line, l->slate, p.logits, l->first_ms);
        variants_estimate(l->variants, l->slate, &p, l->first_ms);
    }
    if (done->n_seen < done->n) TRY(cut(l, done, &p, e));
    l->slate->settled_ms = done->due_ms;
    TRY(settle_slate(l, &p, e));
    return learner_learn_ended(l, done, &p, e);
}

/* How unlike each other the first of the slate are, in the order of the line in charge. */
static enum status note_spread(struct learner *l, struct err *e)
{
    struct slate *s = l->slate;
    uint32_t top[EVAL_TOP];
    const uint32_t n_top = eval_lists_top(s);
    const bool blank = !l->line->learn && l->line->counts.learnt_examples == 0; /* line_score asked nobody either */
    if (n_top == 0 || l->line->states == NULL || blank) return STATUS_OK;
    struct eval_place *places = arena_alloc(s->arena, s->n_items, sizeof *places);
    if (places == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", s->n_items);
    for (uint32_t i = 0; i < s->n_items; i++)
        places[i] = (struct eval_place){l->line->predictions.logits[i], i, (uint32_t)s->items[i].item, 0};
    eval_sort(places, s->n_items);
    for (uint32_t i = 0; i < n_top; i++) top[i] = places[i].item;
    return model_spread(l->line->run, s, top, n_top, &s->spread, e);
}

/* What every line says of the scratch slate, until the next. */
static enum status score_slate(struct learner *l, struct open_predictions *p, struct err *e)
{
    TRY(line_score(l->line, l->slate, l->seen != NULL, e));
    TRY(note_spread(l, e));
    return variants_predict(l->variants, l->slate, l->first_ms, p, e);
}

static enum status goes_on(struct learner *l, struct err *e)
{
    return l->going != NULL ? l->going(l->going_user, e) : STATUS_OK;
}

static enum status settle_due(struct learner *l, int64_t watermark, struct err *e)
{
    struct join_settled done;
    for (;;) {
        const enum status st = join_settle(l->join, watermark, &done, e);
        if (st == STATUS_NOT_FOUND) return STATUS_OK;
        TRY(st);
        TRY(goes_on(l, e));
        TRY(done.ended ? settle_ended(l, &done, e) : learner_learn_waited(l, &done, e));
    }
}

/* Gives the scratch slate its identity. */
static void begin_slate(struct learner *l, enum slate_source source, const struct event *ev, struct event_position at,
                        int64_t time_ms)
{
    struct slate *s = l->slate;
    slate_reset(s);
    s->id = l->next_slate;
    s->source = source;
    s->spread = NAN;
    s->type = source == SLATE_ORGANIC ? ev->type : EVENT_TYPES_MAX;
    s->at = at;
    s->time_ms = time_ms;
    s->origin = guard_source_key(ev->source);
    s->user = arena_str(s->arena, ev->user);
    s->request = arena_str(s->arena, source == SLATE_ORGANIC ? ev->order : str_has(ev->request) ? ev->request : ev->id);
}

/* The score that the reply which the list echoes gave the item; 0: not said. */
static double served_score(const struct event *ev, uint32_t i)
{
    const struct event_attr *a =
        str_has(ev->version) ? event_attr(ev->items[i].attrs, ev->items[i].n_attrs, "score") : NULL;
    return a != NULL && a->kind == EVENT_ATTR_NUMBER ? a->number : 0.0;
}

/* With rank.utility a score is a sum that may be any number: one that can be no probability tells of all in its list. */
static void note_served(const struct conf *c, struct slate *s, const struct event *ev)
{
    bool all = c->rank_utility[0] == '\0';
    for (uint32_t i = 0; i < s->n_items && all; i++) {
        const double score = served_score(ev, i);
        s->items[i].served = (float)score;
        all = score >= 0.0 && score <= 1.0;
    }
    for (uint32_t i = 0; i < s->n_items && !all; i++) s->items[i].served = 0.0f;
}

/* What a recorded list says of itself. */
static void note_list(const struct conf *c, struct slate *s, const struct event *ev)
{
    note_served(c, s, ev);
    s->version = arena_str(s->arena, ev->version);
    s->variant = arena_str(s->arena, ev->variant);
    for (uint32_t i = 0; i < s->n_items; i++) {
        s->items[i].position = i + 1;
        if (ev->propensity != NULL) s->items[i].propensity = fmaxf((float)ev->propensity[i], FLT_MIN);
    }
}

static enum status take_impression(struct learner *l, const struct event *ev, struct err *e)
{
    struct open_predictions p;
    begin_slate(l, SLATE_IMPRESSION, ev, ev->at, ev->time_ms);
    TRY(world_fill_impression(l->world, l->slate, ev, e));
    if (l->slate->n_items == 0) return STATUS_OK;
    note_list(l->conf, l->slate, ev);
    TRY(segment_fill(l->segment, l->world, l->slate, ev->context, ev->n_context, e));
    TRY(learner_check_unsampled(l, (struct world_unsampled){.context = ev->context, .n_context = ev->n_context}, e));
    TRY(score_slate(l, &p, e));
    learner_guard_scored(l);
    TRY(open_put(l->open, l->slate, &p, e));
    l->next_slate++;
    TRY(join_open(l->join, l->slate->id, ev, e));
    if (open_bytes(l->open) > (size_t)l->conf->join_max_bytes) join_hurry(l->join);
    TRY(learner_served_opened(l, ev, e));
    return learner_learn_opened(l, &p, e);
}

/* The positive lines of a compound that no shown list claims are a slate with sampled negatives. */
static enum status learn_organic(struct learner *l, const struct order_compound *c, struct err *e)
{
    struct open_predictions p;
    begin_slate(l, SLATE_ORGANIC, &c->lines[0], c->at, c->time_ms);
    const enum status st = world_fill_organic(l->world, l->slate, l->lines, c->n, c->at, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    TRY(segment_fill(l->segment, l->world, l->slate, NULL, 0, e));
    TRY(learner_check_unsampled(l, (struct world_unsampled){.lines = c->lines, .n_lines = c->n}, e));
    l->next_slate++;
    l->slate->settled_ms = c->time_ms;
    TRY(score_slate(l, &p, e));
    learner_guard_scored(l);
    TRY(settle_slate(l, &p, e));
    return learner_learn_whole(l, e);
}

/* A list claims a line that marks it, and one that came too late for its own list: neither is an order without one. */
static enum status claim_line(struct learner *l, struct event *line, struct err *e)
{
    const uint64_t late = join_counts(l->join)->late;
    TRY(join_mark(l->join, line, &line->joined, e));
    line->joined = line->joined || join_counts(l->join)->late > late;
    return learner_learn_mark(l, line->time_ms, e);
}

static enum status take_compound(struct learner *l, const struct order_compound *c, struct err *e)
{
    bool organic = false;
    const struct conf_type *type = &l->conf->types[c->lines[0].type];
    if (MEM_GROW(l->lines, &l->cap_lines, c->n) != 0)
        return ERR_SET(e, STATUS_OOM, "order of %u lines", c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        struct event *line = &l->lines[i];
        *line = c->lines[i];
        if (!line->joined) TRY(claim_line(l, line, e));
        organic = organic || !line->joined;
    }
    organic = organic && type->label == CONF_LABEL_POSITIVE && str_has(c->lines[0].user) && l->conf->join_organic;
    if (organic) TRY(learn_organic(l, c, e));
    return guard_counts(l->guard) ? world_take(l->world, c->lines, c->n, e) : STATUS_OK;
}

static enum status take_ready(struct learner *l, struct err *e)
{
    struct order_compound c;
    for (;;) {
        const enum status st = order_ready(l->order, &c);
        if (st == STATUS_NOT_FOUND) return STATUS_OK;
        TRY(st);
        TRY(goes_on(l, e));
        TRY(take_compound(l, &c, e));
    }
}

/* What has waited long enough is learnt before anything is scored at that time.  Orders before lists: their lines may still mark
 * a slate that is due at the same watermark. */
static enum status complete_due(struct learner *l, int64_t watermark, struct err *e)
{
    TRY(variants_advance(l->variants, watermark, e));
    TRY(line_advance(l->line, watermark, e));
    TRY(order_advance(l->order, watermark, e));
    TRY(take_ready(l, e));
    TRY(settle_due(l, watermark, e));
    const int64_t waits_ms = l->conf->join_window_ms + l->conf->join_order_gap_ms;
    if (watermark > INT64_MIN + waits_ms) world_expire_erased(l->world, watermark - waits_ms);
    return STATUS_OK;
}

static enum status take_event(struct learner *l, const struct event *ev, struct err *e)
{
    switch (ev->kind) {
    case EVENT_ITEM: return ev->deleted || guard_counts(l->guard) ? world_item(l->world, ev, e) : STATUS_OK;
    case EVENT_USER: return ev->deleted || guard_counts(l->guard) ? world_user(l->world, ev, e) : STATUS_OK;
    case EVENT_IMPRESSION: return take_impression(l, ev, e);
    case EVENT_BEHAVIOUR: break;
    }
    struct event line = *ev;
    if (str_has(ev->order)) { /* an order is assembled longer than a slate may wait */
        line.joined = join_mark_early(l->join, ev);
        if (line.joined) TRY(learner_learn_mark(l, ev->time_ms, e));
    }
    TRY(order_push(l->order, &line, e));
    return take_ready(l, e);
}

static struct source_offset *offset_of(struct learner *l, struct event_position at)
{
    for (size_t i = 0; i < l->n_offsets; i++)
        if (l->offsets[i].topic == at.topic && l->offsets[i].partition == at.partition) return &l->offsets[i];
    if (MEM_GROW(l->offsets, &l->cap_offsets, l->n_offsets + 1) != 0) return NULL;
    struct source_offset *o = &l->offsets[l->n_offsets++];
    *o = (struct source_offset){.topic = at.topic, .partition = at.partition};
    return o;
}

static enum status advance_offset(struct learner *l, const struct source_record *rec, struct err *e)
{
    struct source_offset *o = l->options.kafka ? offset_of(l, rec->at) : &l->file;
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "offsets: %zu partitions", l->n_offsets + 1);
    const uint64_t link[] = {o->chain, rec->at.offset, rec->mark};
    o->next = rec->at.offset + 1;
    o->mark = rec->mark;
    o->records++;
    o->chain = hash_bytes(link, sizeof link);
    return STATUS_OK;
}

/* Where a partition begins is state: what a later start does not find there came after the first. */
static enum status begin_offset(struct learner *l, struct event_position at, struct err *e)
{
    struct source_offset *o = offset_of(l, at);
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "offsets: %zu partitions", l->n_offsets + 1);
    if (o->next == at.offset) return STATUS_OK;
    o->next = at.offset; /* moved (ingest.missing): what is before it now was not taken */
    o->mark = 0;
    return STATUS_OK;
}

enum status learner_reject(struct learner *l, const struct source_record *rec, const char *stage, struct err *e)
{
    l->counts.rejected++;
    reject_tally_add(&l->tally, &rec->reject);
    return l->refused != NULL ? l->refused(l->refused_user, rec, stage, e) : STATUS_OK;
}

static enum status refuse_item(struct learner *l, const struct source_record *rec, struct err *e)
{
    struct source_record full = *rec;
    full.kind = SOURCE_REJECT;
    (void)reject_set(
        &full.reject, REJECT_CATALOGUE_FULL,
        "item \"%.100s\" is new, but catalogue.items=%lld are there already; raise it in a new state folder",
        rec->event.item.p, (long long)l->conf->catalogue_items);
    return learner_reject(l, &full, "catalogue", e);
}

static enum status accept_event(struct learner *l, const struct source_record *rec, struct err *e)
{
    char room[EVENT_ID_MAX];
    struct event own = rec->event;
    const struct event *ev = &own;
    const struct world_counts *w = world_counts(l->world);
    own.user = event_subject(own.user, own.session, room);
    if (l->first_ms == INT64_MIN) l->first_ms = ev->time_ms;
    TRY(complete_due(l, watermark_ms(l->watermark), e));
    bool quarantined;
    TRY(learner_guard_event(l, rec, &quarantined, e));
    if (quarantined) return STATUS_OK;
    const uint64_t refused = w->refused_items;
    TRY(take_event(l, ev, e));
    if (ev->kind == EVENT_ITEM && w->refused_items != refused) return refuse_item(l, rec, e);
    l->counts.accepted++;
    return l->options.letters ? reject_places_add(&l->retried, rec->mark, e) : STATUS_OK;
}

/* Events that had to wait for later ones to agree with their time. */
static enum status take_decided(struct learner *l, struct err *e)
{
    const struct source_record *rec;
    while (watermark_decided(l->watermark, &rec) == STATUS_OK) {
        if (rec->kind == SOURCE_REJECT)
            TRY(learner_reject(l, rec, "watermark", e));
        else
            TRY(accept_event(l, rec, e));
    }
    return STATUS_OK;
}

static enum status take_in_time(struct learner *l, const struct source_record *rec, struct err *e)
{
    bool held = false;
    const bool seen_before = l->options.letters && rec->raw.was_event; /* its id was remembered when it was refused */
    if (str_has(rec->event.id) && !seen_before && dedupe_seen(l->dedupe, rec->event.source, rec->event.id)) {
        l->counts.duplicates++;
        return STATUS_OK;
    }
    TRY(watermark_take(l->watermark, rec, &held, e));
    TRY(take_decided(l, e));
    return held ? STATUS_OK : accept_event(l, rec, e);
}

enum status learner_expect(struct learner *l, struct event_position at, struct err *e)
{
    return l->options.kafka ? begin_offset(l, at, e) : watermark_expect(l->watermark, at, e);
}

static enum status take_joined(struct learner *l, struct event_position at, struct err *e)
{
    TRY(begin_offset(l, at, e));
    return watermark_expect(l->watermark, at, e);
}

static enum status take_record(struct learner *l, const struct source_record *rec, struct err *e)
{
    if (rec->kind == SOURCE_IDLE || rec->kind == SOURCE_LEFT) {
        TRY((rec->kind == SOURCE_IDLE ? watermark_idle : watermark_leave)(l->watermark, rec->at, e));
        return complete_due(l, watermark_ms(l->watermark), e);
    }
    if (rec->kind == SOURCE_JOINED) return take_joined(l, rec->at, e);
    TRY(advance_offset(l, rec, e));
    l->counts.events++;
    if (l->options.letters && reject_places_has(&l->retried, rec->mark)) {
        l->counts.duplicates++;
        return STATUS_OK;
    }
    if (rec->kind == SOURCE_REJECT) {
        if (!l->options.letters) guard_rejected(l->guard, watermark_ms(l->watermark));
        return learner_reject(l, rec, "parse", e);
    }
    if (rec->kind == SOURCE_EVENT) return take_in_time(l, rec, e);
    l->counts.skipped++;
    reject_tally_add(&l->tally, &rec->reject);
    return STATUS_OK;
}

enum status learner_record(struct learner *l, const struct source_record *rec, struct err *e)
{
    const enum status st = take_record(l, rec, e);
    learner_guard_say(l);
    return st == STATUS_OK ? learner_settle_gate(l, e) : st;
}

enum status learner_flush(struct learner *l, struct err *e)
{
    while (watermark_held(l->watermark) > 0) {
        watermark_flush(l->watermark);
        TRY(take_decided(l, e));
    }
    TRY(order_flush(l->order, e));
    TRY(take_ready(l, e));
    TRY(settle_due(l, INT64_MAX, e));
    TRY(variants_step(l->variants, e));
    TRY(line_step(l->line, e));
    return learner_settle_gate(l, e);
}
