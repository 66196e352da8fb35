/* learner.h - the single writer: world and model, and what one record of the stream does to them.
 *
 * The one order of things (DESIGN "One event's way"): dedupe → watermark → what that completes (orders, then slates that
 * are due) → the event itself.  A list is scored before anything of it is counted or learnt.  No clock, no thread and no
 * I/O but the store's read-back of users: the same records in the same order give the same bits.
 */
#ifndef JOB_LEARNER_H
#define JOB_LEARNER_H
#include "base/store.h"
#include "featurize/world.h"
#include "ingest/dedupe.h"
#include "ingest/join.h"
#include "ingest/order.h"
#include "ingest/source.h"
#include "ingest/watermark.h"
#include "job/line.h"
#include "job/variants.h"
#include "schemas/command.h"
#include "schemas/report.h"
#include "serving/served.h"

struct learner_counts {
    uint64_t events, accepted, rejected, skipped, duplicates, slates, examples;
};
struct learner_options {
    bool learn;
    bool kafka; /* positions are Kafka's; a replay's ordinals are remembered apart */
    bool
        letters; /* dead letters are tried again: what is accepted is remembered by its place, and not accepted twice */
    struct eval_warmup warmup;
};
struct learner;
/* Called for every slate whose labels are settled, with what was predicted when it was opened (for --dump-examples). */
struct learner_seen {
    const struct slate *slate;
    const float *logits, *part_logits,
        *cosine; /* (K), (parts and tasks, K), (K): frozen cosine with the user's taste */
    size_t n_parts;
    bool counted; /* after the warm-up */
};
typedef enum status learner_seen_fn(void *user, const struct learner_seen *seen, struct err *e);

/* store may be NULL (no state folder at all: tests). Everything is borrowed but the learner's own. */
struct learner_parts_in {
    const struct conf *conf;
    const struct token_vocab *vocab;
    const struct describe *templates;
    const struct encoder *encoder; /* NULL when no part needs it */
    struct store *store;
};
enum status learner_new(struct learner **out, const struct learner_parts_in *in, struct learner_options o,
                        struct err *e) MUST_CHECK;
void learner_free(struct learner *l);
/* Takes settled slates in the place of evaluating and learning them (job/fit.h). */
typedef enum status learner_settled_fn(void *user, const struct slate *s, struct err *e);
void learner_on_settled(struct learner *l, learner_settled_fn *fn, void *user);
struct line *learner_line(struct learner *l);
void learner_on_seen(struct learner *l, learner_seen_fn *fn, void *user);
/* Called for every record that is refused, malformed ("parse") or by its time ("watermark"; then it may be an earlier one),
 * with its reject filled in: for the dead letters. */
typedef enum status learner_refused_fn(void *user, const struct source_record *rec, const char *stage, struct err *e);
void learner_on_refused(struct learner *l, learner_refused_fn *fn, void *user);
/* Called before each list that settles and each order that is taken: one record may let any number of them go.  What it returns but OK
 * ends the record in its middle, and learner_record or learner_flush with that: learner_free is then all that may follow. */
typedef enum status learner_going_fn(void *user, struct err *e);
void learner_on_going(struct learner *l, learner_going_fn *fn, void *user);
/* A partition that is there, read from at.offset on when it is ours.  Kafka: only the offset is noted (SOURCE_JOINED follows
 * when it is read); files: event time waits for it. */
enum status learner_expect(struct learner *l, struct event_position at, struct err *e) MUST_CHECK;
/* One record.  Only faults of ours or of the store are errors; bad input is counted and told to learner_on_refused. */
enum status learner_record(struct learner *l, const struct source_record *rec, struct err *e) MUST_CHECK;
/* A learner that begins where a published version stood: its offsets (Kafka's), event time that settled its last slate,
 * examples behind it.  Parameters and records are the caller's to put in.  OOM. */
enum status learner_begin_at(struct learner *l, const struct source_offset *offsets, size_t n, int64_t settled_ms,
                             uint64_t examples, struct err *e) MUST_CHECK;
/* Settles everything that is open (--flush). */
enum status learner_flush(struct learner *l, struct err *e) MUST_CHECK;
/* The state, into and out of a store transaction (job/checkpoint.h does files and versions). */
enum status learner_save(struct learner *l, struct store_txn *t, struct err *e) MUST_CHECK;
void learner_saved(struct learner *l); /* the commit succeeded */
enum status learner_load(struct learner *l, struct store_txn *t, struct err *e) MUST_CHECK;
/* What was saved or loaded last has this number: snapshots that are the same are known by it. */
void learner_numbered(struct learner *l, uint64_t version);
/* Why a checkpoint is wanted at once, and published ("rollback", "marked"); NULL: none is.  Asked once. */
const char *learner_due(struct learner *l);
/* Is the line fit to be published?  why: "" or what is wrong (line_gate_check).  refuse: counted, and in the version log when
 * the one before was let through; let: it is fit. */
enum status learner_check(struct learner *l, char why[LINE_WHY], struct err *e) MUST_CHECK;
enum status learner_refuse(struct learner *l, uint64_t version, const char *why, struct err *e) MUST_CHECK;
void learner_let(struct learner *l);
/* Back to the blessed version, by order or because a version is refused.  NOT_FOUND: nothing is blessed. */
enum status learner_rollback(struct learner *l, const char *who, const char *why, int64_t wall_ms,
                             struct err *e) MUST_CHECK;
bool learner_rests(const struct learner *l);       /* after a rollback nothing is learnt for a while */
uint64_t learner_blessed(const struct learner *l); /* number of the blessed version; 0: none, or it has none */
/* Orders (schemas/command.h).  adopt: the weights of c->version were put in already (checkpoint_take); promote: the line as it
 * is becomes the blessed one; pin: version stays published, 0: none does.  All go into the version log.  NOT_FOUND: there is
 * no gate that could bless; OOM. */
enum status learner_adopt(struct learner *l, const struct command *c, struct err *e) MUST_CHECK;
enum status learner_promote(struct learner *l, const struct command *c, struct err *e) MUST_CHECK;
enum status learner_promote_variant(struct learner *l, const struct command *c, struct err *e) MUST_CHECK; /* c->name */
/* The variant in charge; NULL: the default line is.  Then: it goes back to its blessed version, or is blessed as it is. */
const char *learner_challenger(const struct learner *l);
enum status learner_rollback_challenger(struct learner *l, const struct command *c, struct err *e) MUST_CHECK;
enum status learner_bless_challenger(struct learner *l, const struct command *c, struct err *e) MUST_CHECK;
enum status learner_pin(struct learner *l, uint64_t version, const struct command *c, struct err *e) MUST_CHECK;
/* What was done is part of the state: the newest LEARNER_ANSWERS orders are known by their ids. */
#define LEARNER_ANSWERS 8
bool learner_answered(const struct learner *l, const char *id, struct command_answer *out);
void learner_remember(struct learner *l, const struct command_answer *a);
struct verdict_log;
const struct verdict_log *learner_verdicts(const struct learner *l);
/* The head of the state's record "gate", for who reads a folder beside the learner. */
enum status learner_gate_peek(struct buf_reader *r, struct verdict_log *log, uint64_t *pinned,
                              struct err *e) MUST_CHECK;
uint64_t learner_pinned(const struct learner *l); /* version that stays published while learning goes on; 0: none */
/* The log of answers (serving/served.h), for figures alone.  read: from now on learner_served is given what is read after the
 * entry that learner_served_from names.  keep: the line's parameters as they are now, which are being published, stay for
 * a while, so that what scorers said with them can be checked. */
enum status learner_read_served(struct learner *l, struct err *e) MUST_CHECK;
struct served_id learner_served_from(const struct learner *l);
enum status learner_served(struct learner *l, struct served_answer *take_a, struct err *e) MUST_CHECK;
enum status learner_keep_version(struct learner *l, size_t line, struct err *e) MUST_CHECK;
struct eval_logged;
const struct eval_logged *learner_logged(const struct learner *l);
size_t learner_dirty_bytes(const struct learner *l);

struct param_set *learner_params(struct learner *l);
struct optim *learner_optim(struct learner *l);
const struct model *learner_model(const struct learner *l);
void learner_reloaded(struct learner *l);             /* live keys were read again */
struct variants *learner_variants(struct learner *l); /* the lines beside the one that the functions above speak of */
struct world *learner_world(struct learner *l);
struct state_cache *learner_states(struct learner *l); /* NULL when no part wants states */
struct eval *learner_eval(struct learner *l);
struct feat *learner_feat(struct learner *l);
const struct learner_counts *learner_counts(const struct learner *l);
const struct line_counts *learner_learnt(const struct learner *l);
uint64_t learner_open_slates(const struct learner *l);
int64_t learner_first_ms(const struct learner *l);    /* of the stream's first event; INT64_MIN before it */
int64_t learner_watermark(const struct learner *l);   /* INT64_MIN before the first event */
int64_t learner_settled_ms(const struct learner *l);  /* event time that settled the newest learnt slate; 0: none */
uint32_t learner_quarantined(const struct learner *l, const char **name, int64_t *until_ms); /* as guard_in_quarantine */
const char *learner_guarded(const struct learner *l); /* why learning is paused, one sentence; "": it is not */
const struct source_offset *learner_offsets(const struct learner *l, size_t *n); /* Kafka's partitions */
const struct source_offset *learner_file(const struct learner *l);               /* a replay's one */
uint64_t learner_file_next(const struct learner *l);              /* ordinal of the next record of a replay */
void learner_report(const struct learner *l, struct report *out); /* all but seconds, version and hashed */
struct report_hashed learner_hashed(const struct learner *l);     /* reads the whole table */
void learner_report_detail(const struct learner *l, struct report_detail *out);
#endif
