/* learner_gate.c - verdicts on the line, and orders about it, as part of the stream: what they meant, and where they stood. */
#include "base/log.h"
#include "base/mem.h"
#include "job/learner_private.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT 1

/* The stream's place now: Kafka's partitions, or the one of a replay. */
static const struct source_offset *here(const struct learner *l, size_t *n)
{
    *n = l->options.kafka ? l->n_offsets : 1;
    return l->options.kafka ? l->offsets : &l->file;
}

static enum status note_place(struct learner_place *p, const struct source_offset *o, size_t n, struct err *e)
{
    if (MEM_GROW(p->o, &p->cap, n) != 0)
        return ERR_SET(e, STATUS_OOM, "gate: places of %zu partitions", n);
    if (n > 0) memcpy(p->o, o, n * sizeof *o);
    p->n = n;
    return STATUS_OK;
}

/* A time in the log; 0: there is none. */
static int64_t ms_of(int64_t ms)
{
    return ms == INT64_MIN ? 0 : ms;
}

/* from: what the line had learnt since goes with it; NULL: nothing does. */
static enum status say(struct learner *l, struct verdict *v, const struct learner_place *from, struct err *e)
{
    size_t n;
    const struct source_offset *now = here(l, &n);
    v->version = v->version > 0 ? v->version : l->said.version;
    v->examples = l->line->counts.learnt_examples;
    v->time_ms = learner_watermark(l);
    return verdict_add(&l->said.log, v, from != NULL ? from->o : NULL, from != NULL ? from->n : 0, now, n, e);
}

static enum status say_rollback(struct learner *l, bool candidate, const char *who, const char *reason, int64_t wall_ms,
                                struct err *e)
{
    const struct line_gate *g = l->line->gate;
    const struct line_mark *m = candidate ? &g->candidate_mark : &g->blessed_mark;
    const char *to = candidate ? "candidate" : "blessed";
    struct verdict v = {.kind = VERDICT_ROLLBACK, .about = m->version, .wall_ms = wall_ms};
    (void)snprintf(v.who, sizeof v.who, "%s", who);
    (void)snprintf(v.reason, sizeof v.reason, "%s", reason);
    log_error("gate",
              "verdict=rollback event_ms=%" PRId64 " newest_version=%" PRIu64 " %s_version=%" PRIu64
              " %s_examples=%" PRIu64 " examples=%" PRIu64 " rest_until_event_ms=%" PRId64 " by=\"%s\" reason=\"%s\"",
              ms_of(learner_watermark(l)), l->said.version, to, m->version, to, m->examples,
              l->line->counts.learnt_examples, ms_of(g->rest_until_ms), who, reason);
    l->said.due = "rollback";
    guard_line_changed(l->guard);
    struct learner_place *p = candidate ? &l->said.candidate : &l->said.blessed;
    size_t n;
    const struct source_offset *now = here(l, &n);
    TRY(say(l, &v, p, e));
    return note_place(p, now, n, e); /* what that version has beyond itself begins here */
}

/* A challenger's line has no versions of its own in the version log: its name stands there instead. */
static enum status say_variant(struct learner *l, size_t i, const char *what, const char *who, const char *reason,
                               int64_t wall_ms, struct err *e)
{
    struct verdict v = {.kind = VERDICT_VARIANT, .wall_ms = wall_ms};
    (void)snprintf(v.who, sizeof v.who, "%s", who);
    (void)snprintf(v.reason, sizeof v.reason, "%s %s: %.160s", conf_line_name(l->conf, i), what, reason);
    return say(l, &v, NULL, e);
}

static enum status say_variant_rollback(struct learner *l, size_t i, const char *who, const char *reason,
                                        int64_t wall_ms, struct err *e)
{
    l->said.due = "rollback";
    log_error("gate",
              "verdict=rollback variant=%s event_ms=%" PRId64 " blessed_examples=%" PRIu64
              " by=\"%s\" reason=\"%s\"",
              conf_line_name(l->conf, i), ms_of(learner_watermark(l)),
              variants_line(l->variants, i)->gate->blessed_mark.examples, who, reason);
    return say_variant(l, i, "went back to its blessed version", who, reason, wall_ms, e);
}

/* It may be in charge, and serves its share in any case. */
static enum status judge_variant(struct learner *l, size_t i, const struct slate *s, const struct open_predictions *p,
                                 struct err *e)
{
    char reason[VERDICT_REASON];
    enum line_verdict verdict;
    struct line *line = variants_line(l->variants, i);
    const float *z = variants_logits(l->variants, s, p, i);
    const struct open_predictions its = {.logits = (float *)(uintptr_t)z};
    if (line->gate == NULL || !line->learn || s->n_items == 0 || isnan(z[0])) return STATUS_OK;
    const double loss = gate_judge_harm(&line->gate->judge, GATE_LOSS);
    TRY(line_gate_judge(line, s, &its, l->next_slate, &verdict, e));
    if (verdict != LINE_ROLLED_BACK) return STATUS_OK;
    (void)snprintf(reason, sizeof reason, "worse than its blessed version on the same slates: log-loss %+.4f", loss);
    return say_variant_rollback(l, i, "gate", reason, 0, e);
}

static enum status settle_variants(struct learner *l, struct err *e)
{
    enum line_verdict verdict;
    for (size_t i = 1; i <= variants_count(l->variants); i++) {
        struct line *line = variants_line(l->variants, i);
        if (line->gate == NULL || !line->learn) continue;
        TRY(line_gate_settle(line, l->next_slate, &verdict, e));
        if (verdict == LINE_BLESSED)
            log_info("gate", "verdict=bless variant=%s blessed_examples=%" PRIu64, conf_line_name(l->conf, i),
                     line->gate->blessed_mark.examples);
    }
    return STATUS_OK;
}

static enum status undo_variants(struct learner *l, int64_t since_ms, const char *why, struct err *e)
{
    bool candidate;
    struct err none;
    for (size_t i = 1; i <= variants_count(l->variants); i++) {
        struct line *line = variants_line(l->variants, i);
        if (!line->learn) continue;
        const enum status st = line_gate_undo(line, since_ms, l->next_slate, &candidate, &none);
        if (st != STATUS_OK && st != STATUS_NOT_FOUND && e != NULL) *e = none;
        if (st == STATUS_NOT_FOUND) continue;
        TRY(st);
        TRY(say_variant_rollback(l, i, "guard", why, 0, e));
    }
    return STATUS_OK;
}

enum status learner_judge(struct learner *l, const struct slate *s, const struct open_predictions *p, struct err *e)
{
    char reason[VERDICT_REASON];
    enum line_verdict verdict;
    struct line_gate *g = l->line->gate;
    for (size_t i = 1; i <= variants_count(l->variants); i++) TRY(judge_variant(l, i, s, p, e));
    if (g == NULL || !l->line->learn) return STATUS_OK;
    const double loss = gate_judge_harm(&g->judge, GATE_LOSS), auc = gate_judge_harm(&g->judge, GATE_AUC);
    const uint64_t n = g->judge.rise_n[GATE_LOSS];
    TRY(line_gate_judge(l->line, s, p, l->next_slate, &verdict, e));
    if (verdict != LINE_ROLLED_BACK) return STATUS_OK;
    (void)snprintf(reason, sizeof reason,
                   "worse than the blessed version on the same slates by more than gate.margin: log-loss %+.4f, "
                   "AUC %+.4f (users weighted) over the last %" PRIu64 " of them",
                   loss, -auc, n);
    return say_rollback(l, false, "gate", reason, 0, e);
}

/* The guard has an alarm: what was learnt since the change began goes, if there is a version from before that. */
static enum status undo(struct learner *l, struct err *e)
{
    int64_t since_ms;
    char why[GUARD_WHY], reason[VERDICT_REASON];
    bool candidate;
    struct err none;
    if (!guard_undo(l->guard, &since_ms, why) || !l->line->learn) return STATUS_OK;
    TRY(undo_variants(l, since_ms, why, e));
    const enum status st = line_gate_undo(l->line, since_ms, l->next_slate, &candidate, &none);
    if (st == STATUS_NOT_FOUND) {
        log_warn("guard",
                 "kept=\"what was learnt since: %s\" reason=\"%s\" next=\"only the scores can tell when they are "
                 "right again; else guard.accept_ms or guard.mode=warn\"",
                 none.text, why);
        return STATUS_OK;
    }
    if (st != STATUS_OK && e != NULL) *e = none;
    TRY(st);
    (void)snprintf(reason, sizeof reason, "what was learnt since %s", why);
    return say_rollback(l, candidate, "guard", reason, 0, e);
}

enum status learner_settle_gate(struct learner *l, struct err *e)
{
    TRY(undo(l, e));
    TRY(settle_variants(l, e));
    enum line_verdict verdict;
    size_t n;
    const struct source_offset *now = here(l, &n);
    struct line_gate *g = l->line->gate;
    if (g == NULL || !l->line->learn) return STATUS_OK;
    const bool first = g->counts.blessings == 0;
    const double loss = gate_judge_mean(&g->judge, GATE_LOSS), auc = gate_judge_mean(&g->judge, GATE_AUC);
    TRY(line_gate_settle(l->line, l->next_slate, &verdict, e));
    if (verdict == LINE_GOES_ON) return STATUS_OK;
    l->said.due = "marked"; /* so that what may be gone back to is a version with a number */
    if (verdict == LINE_MARKED) return note_place(&l->said.candidate, now, n, e);
    struct verdict v = {.kind = VERDICT_BLESS, .about = g->blessed_mark.version, .who = "gate"};
    if (first)
        (void)snprintf(v.reason, sizeof v.reason, "the first one, after gate.bless_slates=%lld slates",
                       (long long)l->conf->gate_bless_slates);
    else
        (void)snprintf(v.reason, sizeof v.reason,
                       "what came of it is no worse than the one before: log-loss %+.4f, AUC %+.4f on the same slates",
                       loss, -auc);
    log_info("gate", "verdict=bless blessed_version=%" PRIu64 " blessed_examples=%" PRIu64 " reason=\"%s\"", v.about,
             g->blessed_mark.examples, v.reason);
    TRY(note_place(&l->said.blessed, first ? now : l->said.candidate.o, first ? n : l->said.candidate.n, e));
    TRY(note_place(&l->said.candidate, now, n, e));
    return say(l, &v, NULL, e);
}

enum status learner_check(struct learner *l, char why[LINE_WHY], struct err *e)
{
    return line_gate_check(l->line, why, e);
}

/* What a version is refused for is said once, until one is let through. */
enum status learner_refuse(struct learner *l, uint64_t version, const char *why, struct err *e)
{
    struct verdict v = {.kind = VERDICT_REFUSE, .version = version, .who = "gate"};
    if (l->line->gate != NULL) l->line->gate->counts.refused++;
    log_limited(LOG_ERROR, "gate", "verdict=refuse version=%" PRIu64 " reason=\"%s\"", version, why);
    if (l->said.refusing) return STATUS_OK;
    l->said.refusing = true;
    (void)snprintf(v.reason, sizeof v.reason, "%s", why);
    return say(l, &v, NULL, e);
}

void learner_let(struct learner *l)
{
    l->said.refusing = false;
}

enum status learner_rollback(struct learner *l, const char *who, const char *why, int64_t wall_ms, struct err *e)
{
    if (l->line->gate == NULL) return ERR_SET(e, STATUS_NOT_FOUND, "nothing is blessed: gate.share is 0");
    TRY(line_gate_rollback(l->line, l->next_slate, e));
    return say_rollback(l, false, who, why, wall_ms, e);
}

/* ---- orders ---- */

bool learner_rests(const struct learner *l)
{
    return line_gate_rests(l->line->gate);
}

uint64_t learner_blessed(const struct learner *l)
{
    return l->line->gate != NULL ? l->line->gate->blessed_mark.version : 0;
}

static enum status say_order(struct learner *l, enum verdict_kind kind, uint64_t about, const struct command *c,
                             bool discarded, struct err *e)
{
    struct verdict v = {.kind = kind, .about = about, .wall_ms = c->wall_ms};
    (void)snprintf(v.who, sizeof v.who, "%s", c->who);
    (void)snprintf(v.reason, sizeof v.reason, "%s", c->reason);
    return say(l, &v, discarded ? &l->said.blessed : NULL, e);
}

static enum status need_gate(const struct learner *l, struct err *e)
{
    if (l->line->gate != NULL && l->conf->gate_share > 0) return STATUS_OK;
    return ERR_SET(e, STATUS_NOT_FOUND, "nothing is blessed without a gate: gate.share is 0");
}

/* The offsets that were learnt since that version are not known any more: the range is that since the blessed one. */
enum status learner_adopt(struct learner *l, const struct command *c, struct err *e)
{
    size_t n;
    const struct source_offset *now = here(l, &n);
    TRY(say_order(l, VERDICT_ROLLBACK, c->version, c, true, e));
    guard_line_changed(l->guard);
    log_error("gate", "verdict=rollback newest_version=%" PRIu64 " to_version=%" PRIu64 " by=\"%s\" reason=\"%s\"",
              l->said.version, c->version, c->who, c->reason);
    if (l->line->gate == NULL) {
        l->line->n_pending = 0;
        return STATUS_OK;
    }
    TRY(line_gate_adopt(l->line, l->next_slate, e));
    l->line->gate->blessed_mark.version = c->version;
    return note_place(&l->said.blessed, now, n, e);
}

enum status learner_promote(struct learner *l, const struct command *c, struct err *e)
{
    size_t n;
    const struct source_offset *now = here(l, &n);
    TRY(need_gate(l, e));
    TRY(line_gate_bless(l->line, l->next_slate, e));
    TRY(note_place(&l->said.blessed, now, n, e));
    return say_order(l, VERDICT_PROMOTE, 0, c, false, e); /* its number is that of the next checkpoint */
}

const char *learner_challenger(const struct learner *l)
{
    const size_t i = variants_in_charge(l->variants);
    return i > 0 ? conf_line_name(l->conf, i) : NULL;
}

enum status learner_rollback_challenger(struct learner *l, const struct command *c, struct err *e)
{
    const size_t i = variants_in_charge(l->variants);
    TRY(need_gate(l, e));
    TRY(line_gate_rollback(variants_line(l->variants, i), l->next_slate, e));
    return say_variant_rollback(l, i, c->who, c->reason, c->wall_ms, e);
}

enum status learner_bless_challenger(struct learner *l, const struct command *c, struct err *e)
{
    const size_t i = variants_in_charge(l->variants);
    TRY(need_gate(l, e));
    TRY(line_gate_bless(variants_line(l->variants, i), l->next_slate, e));
    return say_variant(l, i, "as it is was blessed", c->who, c->reason, c->wall_ms, e);
}

enum status learner_promote_variant(struct learner *l, const struct command *c, struct err *e)
{
    struct command said = *c;
    (void)snprintf(said.reason, sizeof said.reason, "variant %.60s is in charge: %.100s", c->name, c->reason);
    TRY(variants_promote(l->variants, str_from(c->name), l->next_slate, e));
    return say_order(l, VERDICT_CHAMPION, 0, &said, false, e);
}

enum status learner_pin(struct learner *l, uint64_t version, const struct command *c, struct err *e)
{
    const uint64_t about = version > 0 ? version : l->said.pinned;
    TRY(say_order(l, version > 0 ? VERDICT_PIN : VERDICT_UNPIN, about, c, false, e));
    l->said.pinned = version;
    return STATUS_OK;
}

bool learner_answered(const struct learner *l, const char *id, struct command_answer *out)
{
    for (uint32_t i = 0; i < l->said.n_answers; i++) {
        if (strcmp(l->said.answers[i].id, id) != 0) continue;
        *out = l->said.answers[i];
        return true;
    }
    return false;
}

void learner_remember(struct learner *l, const struct command_answer *a)
{
    struct learner_verdicts *s = &l->said;
    if (s->n_answers == LEARNER_ANSWERS) memmove(&s->answers[0], &s->answers[1], --s->n_answers * sizeof *a);
    s->answers[s->n_answers++] = *a;
}

const char *learner_due(struct learner *l)
{
    const char *due = l->said.due;
    l->said.due = NULL;
    return due;
}

/* What was blessed since the last checkpoint, which are the newest entries, is the line as it was made durable now. */
static void number_blessings(struct learner *l)
{
    struct verdict_log *log = &l->said.log;
    for (size_t i = log->n; i-- > 0 && log->items[i].version == log->items[log->n - 1].version;) {
        struct verdict *v = &log->items[i];
        if ((v->kind == VERDICT_BLESS || v->kind == VERDICT_PROMOTE) && v->about == 0)
            v->about = l->line->gate->blessed_mark.version;
    }
}

void learner_numbered(struct learner *l, uint64_t version)
{
    l->said.version = version;
    for (size_t i = 0; i <= variants_count(l->variants); i++)
        line_gate_numbered(variants_line(l->variants, i), version);
    if (l->line->gate != NULL) number_blessings(l);
}

const struct verdict_log *learner_verdicts(const struct learner *l)
{
    return &l->said.log;
}

uint64_t learner_pinned(const struct learner *l)
{
    return l->said.pinned;
}

/* ---- the state ---- */

void learner_gate_fini(struct learner *l)
{
    verdict_fini(&l->said.log);
    mem_free(l->said.blessed.o);
    mem_free(l->said.candidate.o);
}

static void place_encode(struct buf *b, const struct learner_place *p)
{
    buf_varint(b, p->n);
    for (size_t i = 0; i < p->n; i++) {
        buf_u32(b, p->o[i].topic);
        buf_u32(b, p->o[i].partition);
        buf_u64(b, p->o[i].next);
    }
}

static enum status place_decode(struct learner_place *p, struct buf_reader *r, struct err *e)
{
    const size_t n = buf_get_count(r, 16);
    if (MEM_GROW(p->o, &p->cap, n) != 0)
        return ERR_SET(e, STATUS_OOM, "gate: places of %zu partitions", n);
    for (p->n = 0; p->n < n; p->n++) {
        p->o[p->n] = (struct source_offset){.topic = buf_get_u32(r)};
        p->o[p->n].partition = buf_get_u32(r);
        p->o[p->n].next = buf_get_u64(r);
    }
    return STATUS_OK;
}

void learner_gate_encode(struct buf *b, const struct learner *l)
{
    buf_u32(b, FORMAT);
    buf_u64(b, l->said.pinned);
    verdict_encode(b, &l->said.log);
    place_encode(b, &l->said.blessed);
    place_encode(b, &l->said.candidate);
    buf_varint(b, l->said.n_answers);
    for (uint32_t i = 0; i < l->said.n_answers; i++) {
        const struct command_answer *a = &l->said.answers[i];
        buf_str(b, str_from(a->id));
        buf_u64(b, a->version);
        buf_str(b, str_from(a->text));
    }
    buf_u8(b, l->line->gate != NULL);
    if (l->line->gate != NULL) line_gate_encode(b, l->line->gate);
}

static enum status answers_decode(struct learner *l, struct buf_reader *r, struct err *e)
{
    const size_t n = buf_get_count(r, 10);
    if (n > LEARNER_ANSWERS) return ERR_SET(e, STATUS_CORRUPT, "version log: %zu answers", n);
    for (l->said.n_answers = 0; l->said.n_answers < n; l->said.n_answers++) {
        struct command_answer *a = &l->said.answers[l->said.n_answers];
        const struct str id = buf_get_str(r);
        *a = (struct command_answer){.ok = true, .version = buf_get_u64(r)};
        const struct str text = buf_get_str(r);
        (void)snprintf(a->id, sizeof a->id, STR_FMT, STR_ARG(id));
        (void)snprintf(a->text, sizeof a->text, STR_FMT, STR_ARG(text));
    }
    return STATUS_OK;
}

enum status learner_gate_peek(struct buf_reader *r, struct verdict_log *log, uint64_t *pinned, struct err *e)
{
    if (buf_get_u32(r) != FORMAT)
        return ERR_SET(e, STATUS_UNSUPPORTED, "the version log was written by another version of freshet");
    *pinned = buf_get_u64(r);
    return verdict_decode(log, r, e);
}

/* A state that was written without a gate (or that is read without one) keeps its log alone. */
enum status learner_gate_decode(struct learner *l, struct buf_reader *r, struct err *e)
{
    TRY(learner_gate_peek(r, &l->said.log, &l->said.pinned, e));
    TRY(place_decode(&l->said.blessed, r, e));
    TRY(place_decode(&l->said.candidate, r, e));
    TRY(answers_decode(l, r, e));
    l->said.has_gate = buf_get_u8(r) != 0 && l->line->gate != NULL;
    if (l->said.has_gate) TRY(line_gate_decode(l->line->gate, r, e));
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "the version log is cut short") : STATUS_OK;
}
