/* conf.h - the one configuration table: from it come the struct, the parser, range checks, --help, the dump, CONFIG.md.
 *
 * INI file, sections and keys as `section.key`; precedence default < file < environment (FRESHET_SECTION_KEY) < -o flag.
 * Unknown keys are errors naming path:line.  Durations are integers with the unit in the key.  Besides the table there
 * are three open families: `kafka.*` (handed to librdkafka untouched), `type.NAME.{label,weight,template}` and
 * `variant.NAME.*` (schemas/conf_variant.h).
 */
#ifndef SCHEMAS_CONF_H
#define SCHEMAS_CONF_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/event.h"
#include <stdbool.h>
#include <stdint.h>

#define CONF_TEXT 512 /* bytes of a text value, NUL included */

/* kinds: INT int64, NUM double, BOOL true|false, TEXT free text, WORD one of the words in `choices` ("a|b|c")
 * flags: S the key is part of what a state folder means (a resume that changes it is refused), L may change while live */
/* clang-format off */
#define CONF_LIST(X) \
    /*  field                  key                           kind  default        min   max        unit  flags  text */ \
    X(model_name,             "model.name",                 TEXT, "default",      0,    64,        "",   "S", "name of the model in Redis keys") \
    X(model_base,             "model.base",                 TEXT, "models/all-MiniLM-L6-v2", 0, 500, "", "",  "Hugging Face folder of the pretrained encoder (its content is part of the state)") \
    X(model_trainable_layers, "model.trainable_layers",     INT,  1,              0,    64,        "layers", "S", "top encoder layers that are fine-tuned (text part)") \
    X(model_user_view,        "model.user_view",            WORD, "pooled",       0,    0,         "pooled|concat", "S", "how the user's events enter the text part") \
    X(model_item_view,        "model.item_view",            WORD, "pooled",       0,    0,         "pooled|tokens|concat", "S", "how a candidate's text enters the text part") \
    X(model_parts,            "model.parts",                TEXT, "text,match,numeric,cooccur,hashed,deep", 0, 200, "", "S", "parts whose logits are summed") \
    X(model_events,           "model.events",               INT,  20,             0,    200,       "events", "S", "newest user events that the encoder parts read") \
    X(model_concat_tokens,    "model.concat_tokens",        INT,  128,            16,   512,       "tokens", "S", "longest sequence of the concat view") \
    X(model_max_tokens,       "model.max_tokens",           INT,  48,             8,    512,       "tokens", "S", "longest event or item sentence") \
    X(model_dropout,          "model.dropout",              NUM,  0.0,            0.0,  0.9,       "",   "S", "dropout in the trainable layers") \
    X(model_hashed_bits,      "model.hashed_bits",          INT,  22,             8,    28,        "bits", "S", "log2 of the number of hashed weights") \
    X(model_position,         "model.position",             BOOL, false,          0,    1,         "",   "S", "learn what a place in a recorded list does to the label, so that it is not put down to the item; scores know nothing of places") \
    X(model_idvec_bits,       "model.idvec_bits",           INT,  14,             4,    20,        "bits", "S", "log2 of the rows that items have in parts idvec and itembias; items that share a row share what is learnt") \
    X(model_user_units,       "model.user_units",           INT,  32,             0,    4096,      "units", "S", "part text: numbers that are learnt of each user, as a head of their own on what the top layers make of a candidate; 0: none") \
    X(model_user_bits,        "model.user_bits",            INT,  14,             4,    24,        "bits", "S", "log2 of the rows that users have for them; users that share a row share what is learnt") \
    X(model_deep_units,       "model.deep_units",           INT,  64,             1,    4096,      "units", "S", "part deep: units of its first hidden layer; the second has half as many") \
    X(model_features,         "model.features",             TEXT, "default",      0,    500,       "",   "S", "numeric features, comma-separated, or default") \
    X(describe_language,      "describe.language",          WORD, "en",           0,    0,         "en|zh", "S", "shipped template set") \
    X(describe_templates,     "describe.templates",         TEXT, "",             0,    500,       "",   "",  "file of templates that override the shipped ones") \
    X(ingest_source,          "ingest.source",              WORD, "kafka",        0,    0,         "kafka", "", "where `run` reads (`replay` reads files)") \
    X(ingest_topics,          "ingest.topics",              TEXT, "events",       0,    500,       "",   "S", "Kafka topics, comma-separated; their order names random numbers") \
    X(ingest_schema,          "ingest.schema",              WORD, "native",       0,    0,         "native|metarank|csv", "", "format of the events") \
    X(ingest_map,             "ingest.map",                 TEXT, "",             0,    500,       "",   "",  "field map for csv") \
    X(ingest_start,           "ingest.start",               TEXT, "checkpoint",   0,    64,        "",   "",  "where a topic begins of which the state knows nothing: checkpoint or earliest | latest | ts=<RFC 3339 or ms> | last=<duration, 90s 15m 2h 7d>; partitions added later begin at their first record") \
    X(ingest_dead_letters,    "ingest.dead_letters",        TEXT, "",             0,    500,       "",   "",  "file for rejected events; topic:NAME for a Kafka topic; empty: count only") \
    X(ingest_max_jump_ms,     "ingest.max_jump_ms",         INT,  2592000000,     1000, 1e13,      "ms", "S", "one event may move the watermark at most this far") \
    X(ingest_dedupe_ids,      "ingest.dedupe_ids",          INT,  100000,         0,    1e8,       "ids", "S", "newest (source, id) pairs remembered to drop duplicates") \
    X(ingest_max_bytes,       "ingest.max_bytes",           INT,  1048576,        1024, 67108864,  "bytes", "", "longest message or line") \
    X(ingest_membership,      "ingest.membership",          WORD, "group",        0,    0,         "group|assign", "", "group: member of the consumer group, partitions come and go; assign: every partition, whoever else reads") \
    X(ingest_missing,         "ingest.missing",             WORD, "stop",         0,    0,         "stop|earliest|latest", "", "when the record that a checkpoint names is no longer in the topic (truncated or re-created)") \
    X(ingest_gaps,            "ingest.gaps",                WORD, "auto",         0,    0,         "auto|expected", "", "missing offsets: an alarm unless the topic is compacted; expected: written by transactions, count only") \
    X(ingest_align_ms,        "ingest.align_ms",            INT,  10000,          0,    1e9,       "ms", "", "partitions are read in the order of event time: how long one that has more, and of which nothing comes, may hold the others back; 0: not at all") \
    X(ingest_queue,           "ingest.queue",               INT,  64,             1,    65536,     "batches", "", "parsed batches waiting for the learner") \
    X(history_events,         "history.events",             INT,  50,             0,    1000,      "events", "S", "newest events remembered per user with their sentences") \
    X(history_pairs,          "history.pairs",              INT,  1000,           0,    100000,    "pairs", "S", "items remembered per user and type") \
    X(history_users,          "history.users",              INT,  2000000,        1,    1e9,       "users", "S", "users in memory; the least recently active leave to the store") \
    X(history_max_bytes,      "history.max_bytes",          INT,  4294967296,     1048576, 1e15,   "bytes", "", "users in memory, in bytes; beyond it the least recently active leave to the store") \
    X(catalogue_items,        "catalogue.items",            INT,  2000000,        1,    1e9,       "items", "S", "items in the catalogue; beyond it new ones are rejected and counted") \
    X(catalogue_max_bytes,    "catalogue.max_bytes",        INT,  4294967296,     1048576, 1e15,   "bytes", "", "items in memory, in bytes; beyond it new ones are rejected and known ones keep their attributes") \
    X(counter_half_lives_h,   "counter.half_lives_hours",   TEXT, "24,168,672,2160", 0, 100,       "h",  "S", "half-lives of the decayed counts, exactly four") \
    X(counter_groups,         "counter.groups",             INT,  65536,          512,  16777216,  "groups", "S", "categories, brands and tags whose rates are counted; beyond it the one shown least makes room") \
    X(cooccur_neighbours,     "cooccur.neighbours",         INT,  128,            1,    1024,      "items", "S", "items remembered per item as those of the same orders (part cooccur)") \
    X(cooccur_half_life_days, "cooccur.half_life_days",     NUM,  0.0,            0.0,  36500.0,   "days", "S", "half-life of those counts; 0: they do not decay") \
    X(join_window_ms,         "join.window_ms",             INT,  1800000,        1,    1e11,      "ms", "S", "how long an impression waits for its labels") \
    X(join_order_gap_ms,      "join.order_gap_ms",          INT,  60000,          0,    1e10,      "ms", "S", "an order is complete when event time has passed its last line by more than this") \
    X(join_negatives,         "join.negatives",             INT,  4,              0,    100,       "", "S", "sampled negatives per positive of an order") \
    X(join_negatives_uniform, "join.negatives_uniform_frac", NUM, 0.5,            0.0,  1.0,       "", "S", "share of negatives drawn uniformly; the rest by (sales per active day)^0.75") \
    X(join_negatives_days,    "join.negatives_days",        INT,  28,             1,    3650,      "days", "S", "an item is active this long after it was announced or taken") \
    X(join_max_positives,     "join.max_positives",         INT,  0,              0,    1000,      "", "S", "items of an order that are scored (seeded choice); 0: all") \
    X(join_loss,              "join.loss",                  WORD, "wait",         0,    0,         "wait|fnw|importance", "S", "when a recorded list is learnt from; wait: at its window's end; fnw: at once as negatives, each positive again when it comes; importance: after join.wait_ms, later positives again when they come; parts that read counts (numeric, cooccur, deep) learn at its end with all three") \
    X(join_wait_ms,           "join.wait_ms",               INT,  60000,          1,    1e11,      "ms", "S", "join.loss=importance: a list is learnt from first when it was shown so long ago; less than join.window_ms") \
    X(join_cascade,           "join.cascade",               BOOL, false,          0,    1,         "", "S", "recorded lists are looked at from above: items below the last one marked count as shown and for nothing else (a list without marks counts whole); join.loss=wait alone") \
    X(join_negative_rate,     "join.negative_rate",         NUM,  1.0,            0.0001, 1.0,     "", "S", "share of recorded negatives that is learnt from (seeded); scores are those of all") \
    X(join_idle_ms,           "join.idle_ms",               INT,  500,            0,    1e9,       "ms", "", "a partition at its end this long no longer holds the watermark back") \
    X(join_organic,           "join.organic",               BOOL, true,           0,    1,         "", "S", "positive behaviours without an impression become slates with sampled negatives") \
    X(join_max_item_age,      "join.max_item_age_days",     INT,  0,              0,    36500,     "days", "S", "orders: only items announced or first taken so recently are candidates, taken or not; 0: all (measures the cold start of items)") \
    X(join_items_from,        "join.items_from_ms",         INT,  0,              0,    1e15,      "ms", "S", "orders: only items announced or first taken on the day of this time (since 1970) or later are candidates, taken or not; before it nothing is learnt; 0: all (measures a new catalogue with an empty model)") \
    X(join_basket,            "join.basket",                BOOL, false,          0,    1,         "", "S", "orders: the first half of the distinct items is history already, the second half is predicted; orders of fewer than four are not scored (completes baskets)") \
    X(join_seed,              "join.seed",                  INT,  1,              0,    4294967295, "", "S", "seed of sampled positives and negatives") \
    X(join_open_slates,       "join.open_slates",           INT,  1000000,        1,    1e9,       "slates", "S", "open slates; the oldest is settled early beyond it") \
    X(join_max_bytes,         "join.max_bytes",             INT,  4294967296,     1048576, 1e15,   "bytes", "", "open slates in memory, in bytes; the oldest is settled early beyond it") \
    X(train_learning_rate,    "train.learning_rate",        NUM,  1e-4,           0.0,  1.0,       "", "S", "AdamW step of the trainable encoder layers") \
    X(train_head_rate,        "train.head_rate",            NUM,  1e-3,           0.0,  1.0,       "", "S", "AdamW step of embeddings and heads") \
    X(train_match_rate,       "train.match_rate",           NUM,  3e-4,           0.0,  1.0,       "", "S", "AdamW step of match's event map") \
    X(train_linear_rate,      "train.linear_rate",          NUM,  0.1,            0.0,  10.0,      "", "S", "AdaGrad step of linear features") \
    X(train_numeric_order,    "train.numeric_order",        INT,  1,              1,    2,         "", "S", "how part numeric learns: 1 AdaGrad; 2 Newton steps with the curvature of all examples (at most 128 features)") \
    X(train_numeric_ridge,    "train.numeric_ridge",        NUM,  1.0,            1e-6, 1e9,       "", "S", "order 2: precision of each weight before anything is learnt") \
    X(train_hashed_rate,      "train.hashed_rate",          NUM,  0.2,           0.0,  10.0,      "", "S", "AdaGrad step of hashed weights") \
    X(train_idvec_rate,       "train.idvec_rate",           NUM,  0.05,           0.0,  10.0,      "", "S", "AdaGrad step of the learned item vectors") \
    X(train_itembias_rate,    "train.itembias_rate",        NUM,  0.05,           0.0,  10.0,      "", "S", "AdaGrad step of the item biases; 0.3 where they are the only source of popularity") \
    X(train_user_rate,        "train.user_rate",            NUM,  0.2,            0.0,  10.0,      "", "S", "AdaGrad step of what part text learns of each user") \
    X(train_weight_decay,     "train.weight_decay",         NUM,  0.01,           0.0,  1.0,       "", "S", "AdamW weight decay of matrices") \
    X(train_warmup_steps,     "train.warmup_steps",         INT,  100,            0,    1e9,       "steps", "S", "AdamW steps over which the rate rises linearly") \
    X(train_schedule,         "train.schedule",             WORD, "constant",     0,    0,         "constant|inverse_sqrt|cosine_restart", "S", "how the AdamW rate goes on after the warm-up") \
    X(train_schedule_steps,   "train.schedule_steps",       INT,  100000,         1,    1e12,      "steps", "S", "inverse_sqrt: the rate falls from here on; cosine_restart: period, from the whole rate to a tenth of it") \
    X(train_half_life,        "train.half_life_examples",   INT,  0,              0,    1e15,      "examples", "S", "after so many examples AdaGrad sums, running statistics of the numeric features and their second-order matrix count half; 0: nothing is forgotten") \
    X(train_l2_sp,            "train.l2_sp",                NUM,  0.0,            0.0,  1000.0,    "", "S", "pull of the AdamW tensors to train.l2_sp_anchor: share of the distance a step, times the rate; 0: off") \
    X(train_l2_sp_anchor,     "train.l2_sp_anchor",         WORD, "pretrained",   0,    0,         "pretrained|blessed", "S", "what train.l2_sp pulls to: the weights it began with, or from the first blessing on the last blessed version") \
    X(train_distill,          "train.distill",              NUM,  0.0,            0.0,  1.0,       "", "S", "share of the blessed version's probability in the target of the cross-entropy, the rest is the label (needs gate.share); 0: off") \
    X(train_replay_share,     "train.replay_share",         NUM,  0.0,            0.0,  0.5,       "", "S", "share of learnt slates that are old ones, drawn from the reservoir (join.loss=wait alone); 0: none, and no reservoir") \
    X(train_reservoir_slates, "train.reservoir_slates",     INT,  10000,          16,   1e7,       "slates", "S", "learnt slates that the reservoir holds, a uniform sample of all") \
    X(train_reservoir_bytes,  "train.reservoir_bytes",      INT,  67108864,       1048576, 1e12,   "bytes", "S", "the same in bytes, packed; beyond them it holds fewer") \
    X(train_reservoir_horizon, "train.reservoir_horizon_slates", INT, 0,          0,    1e15,      "slates", "S", "slates over which the sample forgets: how likely one is still held falls by 1/e with so many further ones; 0: all of the past alike") \
    X(train_clip_norm,        "train.clip_norm",            NUM,  1.0,            0.0,  1e9,       "", "S", "largest norm of the AdamW gradients; 0: off") \
    X(train_batch_slates,     "train.batch_slates",         INT,  2,              1,    4096,      "slates", "S", "slates per step") \
    X(train_step_slates,      "train.step_slates",          INT,  0,              0,    16,        "slates", "S", "steps within a batch: all parts but text step after so many of its slates, beside what text said of them before, and text once at its end; 0: all of them once a batch") \
    X(train_batch_wait_ms,    "train.batch_wait_ms",        INT,  0,              0,    1e10,      "ms", "S", "a batch that is not full is learnt as it is once event time has gone on by so much since its first slate; 0: it waits until it is full") \
    X(train_follow_ms,        "train.follow_ms",            INT,  0,              0,    1e13,      "ms", "S", "in a variant: does not learn, but takes the base configuration's parameters each time so much event time has passed; 0: learns") \
    X(train_follow_times,     "train.follow_times",         INT,  0,              0,    1e9,       "", "S", "… so often at most; 0: without end") \
    X(train_ranks,            "train.ranks",                INT,  1,              1,    64,        "processes", "", "processes that learn as one, each a share of every batch (`replay` alone; GPU.md); all are started with the same configuration and logs, and each with its own train.rank; 1: alone") \
    X(train_rank,             "train.rank",                 INT,  0,              0,    63,        "", "", "which of them this process is; rank 0 alone keeps the state, publishes and reports") \
    X(train_ranks_address,    "train.ranks_address",        TEXT, "127.0.0.1:7411", 1,  107,       "", "", "where rank 0 waits for the others: host:port, or unix:/path; there is no authentication: loopback, or a network of your own") \
    X(train_ranks_timeout_ms, "train.ranks_timeout_ms",     INT,  60000,          100,  1e9,       "ms", "", "how long the ranks wait for one another, to come and to do their share, before they end with an error") \
    X(train_ranks_reduce,     "train.ranks_reduce",         WORD, "auto",         0,    0,         "auto|sockets|nccl", "", "what carries the sums of gradients; auto: NCCL where all ranks have backend cuda and the library, else sockets") \
    X(train_softmax_share,    "train.softmax_share",        NUM,  0.5,            0.0,  1.0,       "", "S", "share of the softmax over a slate's negatives in the loss; the rest is binary cross-entropy; at 1 without train.recalibration scores order a list and are no probabilities (recorded lists with another join.loss than wait: all of it)") \
    X(train_sampling_correction, "train.sampling_correction", BOOL, true,         0,    1,         "", "S", "learn sampled slates by s - log(k*q) and serve s, so that how negatives are drawn is no part of the score") \
    X(train_recalibration,    "train.recalibration",        BOOL, true,           0,    1,         "", "S", "intercept and offsets by age, popularity and history that keep probabilities in line with settled labels; parts learn from organic orders beside them (not with types of different weights, distillation, replay or softmax_share=1: there, and of recorded lists, a slope is learnt too)") \
    X(train_tasks,            "train.tasks",                TEXT, "",             0,    300,       "", "S", "behaviour types with a probability of their own on recorded lists, comma-separated: positive ones given any positive one (their product is what is learnt), negative ones (refund, uncart, dislike) by themselves; empty: the one label") \
    X(train_seed,             "train.seed",                 INT,  1,              0,    4294967295, "", "S", "seed of initial parameters and dropout") \
    X(gate_share,             "gate.share",                 NUM,  0.25,           0.0,  1.0,       "", "", "share of the slates that the blessed version scores too, to judge the line by; 0: no gate") \
    X(gate_margin,            "gate.margin",                NUM,  0.01,           0.0,  1.0,       "nats", "", "mean log-loss by which the line may be worse than its blessed version where one in five is taken; at another rate in proportion to what a constant prediction loses") \
    X(gate_margin_auc,        "gate.margin_auc",            NUM,  0.01,           0.0,  1.0,       "", "", "mean AUC of a list by which it may be worse") \
    X(gate_false_per_day,     "gate.false_per_day",         NUM,  0.01,           1e-9, 1.0,       "", "", "false rollbacks a day of event time, at most (and one in a million judged slates)") \
    X(gate_bless_slates,      "gate.bless_slates",          INT,  2000,           1,    1e9,       "slates", "", "a version is blessed after so many judged slates that show its line to be no worse; the first one after so many learnt ones") \
    X(gate_bless_ms,          "gate.bless_ms",              INT,  21600000,       0,    1e11,      "ms", "", "… and after so much event time, so that a fault has time to show") \
    X(gate_cooldown_ms,       "gate.cooldown_ms",           INT,  3600000,        0,    1e10,      "ms", "", "event time after a rollback in which nothing is learnt; doubles with each further one") \
    X(gate_holdout_frac,      "gate.holdout_frac",          NUM,  0.0,            0.0,  0.5,       "", "S", "share of the users (by hash) whose labels never train parameters") \
    X(gate_max_drift,         "gate.max_drift",             NUM,  5.0,            0.0,  1e9,       "", "", "a version whose logits of the newest judged lists are further from the blessed one's than this (root mean square) is not published; 0: any is") \
    X(gate_on_refuse,         "gate.on_refuse",             WORD, "hold",         0,    0,         "hold|rollback", "", "when a version is refused: it is held back and learning goes on, or the line is rolled back") \
    X(eval_k,                 "eval.k",                     TEXT, "5,10,20",      0,    100,       "",   "",  "k of NDCG@k and recall@k in the report, at most four; others than the state's begin anew") \
    X(eval_segments,          "eval.segments",              TEXT, "",             0,    400,       "",   "S", "attributes by whose values the report is split, at most eight: user.NAME, item.NAME, context.NAME") \
    X(eval_unsampled,         "eval.unsampled_frac",        NUM,  0.01,           0.0,  1.0,       "",   "",  "share of the slates (seeded) that are ranked among all active items as well, for the report; 0: none") \
    X(eval_unsampled_items,   "eval.unsampled_items",       INT,  3000,           10,   9000,      "items", "", "active items of such a check at most, a seeded choice beyond it (ranks are then estimates); the text part sees the best serving.joint_top") \
    X(eval_conversion,        "eval.conversion",            TEXT, "purchase",     1,    60,        "",   "",  "behaviour type whose lists have converted: conversion of cohorts and of variants' arms") \
    X(eval_window_ms,         "eval.window_ms",             INT,  86400000,       1000, 1e12,      "ms", "",  "length of the report's sliding windows") \
    X(eval_half_life_ms,      "eval.half_life_ms",          INT,  86400000,       1000, 1e12,      "ms", "",  "half-life of the report's decayed figures") \
    X(eval_served_answers,    "eval.served_answers",        INT,  10000,          0,    1e6,       "answers", "", "answers of the log (fr:m:served) that a stream job keeps until their lists settle, for the report's figures of what was served; 0: the log is not read") \
    X(eval_served_frac,       "eval.served_frac",           NUM,  1.0,            0.0,  1.0,       "",   "",  "share of the answers that are read, by their request") \
    X(eval_served_checked,    "eval.served_checked",        NUM,  0.1,            0.0,  1.0,       "",   "",  "share of these whose features the learner makes again for the request's time and compares, and scores by the version that answered where it still has it") \
    X(eval_served_every_ms,   "eval.served_every_ms",       INT,  10000,          0,    1e10,      "ms", "",  "how often a published version is kept for that; the newest two are") \
    X(eval_part_cost_share,   "eval.part_cost_share",       NUM,  0.3,            0.0,  1.0,       "", "",  "a part that takes more of the parts' time than this has to bring eval.part_min_gain, or a warning says so") \
    X(eval_part_min_gain,     "eval.part_min_gain",         NUM,  0.0005,         -1.0, 1.0,       "", "",  "GAUC that is lost without the part") \
    X(guard_mode,             "guard.mode",                 WORD, "pause",        0,    0,         "pause|warn|off", "L", "a monitor that leaves its level: pause learning, only say so, or do not watch at all; set to warn it ends a pause") \
    X(guard_pause_on,         "guard.pause_on",             TEXT, "labels,volume,scores,schema,rejects", 0, 100, "", "L", "monitors that pause learning: labels, volume (when it rises), scores, schema, rejects, loss; the others only say so") \
    X(guard_bucket_ms,        "guard.bucket_ms",            INT,  60000,          1000, 1e10,      "ms", "L", "least event time of one bucket of a monitor") \
    X(guard_bucket_events,    "guard.bucket_events",        INT,  100,            1,    1e9,       "", "L", "least observations of one bucket") \
    X(guard_warmup,           "guard.warmup_buckets",       INT,  30,             2,    1e6,       "buckets", "L", "a monitor learns its level over so many before it says anything") \
    X(guard_label_shift,      "guard.label_shift",          NUM,  0.3,            0.01, 3.2,       "", "L", "least lasting change of the share of positives that is an alarm, by show time (Cohen's h: 0.3 is 20 % to 33 %)") \
    X(guard_schema_shift,     "guard.schema_shift",         NUM,  0.3,            0.01, 3.2,       "", "L", "the same for the share of each event type and of each attribute in its type") \
    X(guard_reject_shift,     "guard.reject_shift",         NUM,  0.3,            0.01, 3.2,       "", "L", "the same for the share of rejected records") \
    X(guard_volume_factor,    "guard.volume_factor",        NUM,  2.5,            1.01, 1e6,       "", "L", "the same for the number of behaviours and impressions an hour: so many times as many, or as few") \
    X(guard_score_shift,      "guard.score_shift",          NUM,  0.7,            0.01, 100.0,     "", "L", "the same for mean and 90 % quantile of the predicted logits, in deviations of one logit") \
    X(guard_loss_shift,       "guard.loss_shift",           NUM,  0.5,            0.01, 100.0,     "", "L", "the same for the progressive log-loss, in deviations of one example's") \
    X(guard_pause_ms,         "guard.pause_ms",             INT,  600000,         0,    1e11,      "ms", "L", "least event time of a pause") \
    X(guard_accept_ms,        "guard.accept_ms",            INT,  86400000,       0,    1e12,      "ms", "L", "a level that has stayed so long is accepted; 0: only the operator ends the pause") \
    X(guard_rollback_on,      "guard.rollback_on",          TEXT, "labels,scores,schema", 0, 100,      "", "L", "monitors of these that pause learning also take back what was learnt since the change began: the line goes back to its blessed version if that is older than the change (needs gate.share > 0); empty: none") \
    X(guard_counts,           "guard.counts",               BOOL, true,           0,    1,         "", "L", "during a pause what comes is counted into histories, catalogue and counters; false: left out of them, but for deletions") \
    X(guard_restart,          "guard.restart",              WORD, "none",         0,    0,         "none|optimiser", "L", "after a pause, and at an alarm of loss: optimiser: its schedule begins anew and AdaGrad's sums keep a hundredth, so that it learns fast again") \
    X(guard_window_ms,        "guard.window_ms",            INT,  3600000,        1000, 1e11,      "ms", "L", "event time over which the three caps below count") \
    X(guard_user_examples,    "guard.user_examples",        INT,  5000,           0,    4e9,       "examples", "L", "most examples of one user that are learnt in a window; 0: no cap") \
    X(guard_item_examples,    "guard.item_examples",        INT,  0,              0,    4e9,       "examples", "L", "most examples of one item that are learnt in a window; 0: no cap") \
    X(guard_source_share,     "guard.source_share",         NUM,  1.0,            0.0,  1.0,       "", "L", "largest share of a window's examples that is learnt of one source (the events' field `source`); 1: no cap") \
    X(guard_quarantine_ms,    "guard.quarantine_ms",        INT,  21600000,       0,    1e12,      "ms", "L", "a source that explains an alarm alone goes to the dead letters (stage anomaly) so long, and learning goes on; 0: never") \
    X(guard_loss_spike,       "guard.loss_spike",           NUM,  20.0,           0.0,  1e9,       "", "L", "a batch whose loss is so many deviations (root mean square) above the median is not learnt, so no more than one in its square ever is; 0: all are") \
    X(rank_utility,           "rank.utility",               TEXT, "",             0,    300,       "", "", "what a scorer ranks by, as a sum over train.tasks: click=1,purchase=5,refund=-3; a reply's score is then that sum; empty: the probability of the one label") \
    X(publish_every_ms,       "publish.every_ms",           INT,  5000,           10,   1e10,      "ms", "L", "least time between published versions") \
    X(publish_features_ms,    "publish.features_ms",        INT,  50,             1,    1e8,       "ms", "L", "least time between flushes of changed users and items") \
    X(publish_keep,           "publish.keep",               INT,  5,              1,    1000,      "versions", "L", "published versions kept in Redis") \
    X(publish_dense,          "publish.dense",              WORD, "f32",          0,    0,         "f32|bf16", "", "precision of the encoder layers, match and heads in published versions; bf16: half the bytes, scores differ in the third digit, and a learner that lost its state folder goes on from rounded weights") \
    X(publish_feature_ttl_s,  "publish.feature_ttl_s",      INT,  2592000,        60,   1e9,       "s",  "L", "user, item and state records expire after this long unchanged") \
    X(state_dir,              "state.dir",                  TEXT, "",             0,    500,       "",   "",  "state folder; `run` needs one, `replay` uses a temporary one when empty") \
    X(state_checkpoint_ms,    "state.checkpoint_every_ms",  INT,  10000,          10,   1e10,      "ms", "L", "least time between checkpoints (stretched so that they cost under 5 %)") \
    X(state_backup_ms,        "state.backup_every_ms",      INT,  0,              0,    1e11,      "ms", "L", "time between hot backups; 0: none") \
    X(state_backup_keep,      "state.backup_keep",          INT,  2,              1,    1000,      "backups", "L", "newest backups kept") \
    X(state_dirty_bytes,      "state.dirty_max_bytes",      INT,  268435456,      1048576, 1e12,   "bytes", "L", "changed records in memory that force a checkpoint") \
    X(state_keep,             "state.keep",                 INT,  5,              1,    10000,     "versions", "L", "weight files kept in the state folder") \
    X(redis_url,              "redis.url",                  TEXT, "",             0,    500,       "",   "",  "unix:/path or redis://host:port/db; empty: no Redis") \
    X(redis_password_file,    "redis.password_file",        TEXT, "",             0,    500,       "",   "",  "file with the password (or user:password)") \
    X(redis_timeout_ms,       "redis.timeout_ms",           INT,  2000,           10,   1e6,       "ms", "",  "connect and command time-out") \
    X(serving_listen,         "serving.listen",             TEXT, "127.0.0.1:8080", 0,  200,       "",   "",  "address:port of the scorer; port 0 picks a free one and prints it") \
    X(serving_token_file,     "serving.token_file",         TEXT, "",             0,    500,       "",   "",  "file with the bearer token; empty: none asked") \
    X(serving_joint_top,      "serving.joint_top",          INT,  200,            1,    10000,     "items", "L", "candidates that the text part sees: the best by the cheap parts, which see all; the others come after them in the order of the cheap parts, with the mean of what text said in its place, so that their scores are probabilities but may be above those before them") \
    X(serving_max_items,      "serving.max_items",          INT,  10000,          1,    10000,     "items", "L", "candidates of one request") \
    X(serving_max_body,       "serving.max_body_bytes",     INT,  4194304,        1024, 67108864,  "bytes", "L", "longest request body") \
    X(serving_connections,    "serving.max_connections",    INT,  256,            1,    65536,     "", "", "open connections") \
    X(serving_threads,        "serving.threads",            INT,  8,              1,    256,       "threads", "", "request threads; kernels.threads of them score at a time, who comes meanwhile is scored together") \
    X(serving_batch_wait_us,  "serving.batch_wait_us",      INT,  0,              0,    100000,    "us", "L", "how long a pass over the model waits for requests that are on their way when no other pass is free; 0: not at all (on two cores waiting gained nothing)") \
    X(serving_poll_ms,        "serving.poll_ms",            INT,  100,            1,    60000,     "ms", "L", "how often the scorer looks for a new version") \
    X(serving_drain_ms,       "serving.drain_ms",           INT,  3000,           0,    600000,    "ms", "L", "longest that a scorer that is told to stop takes to answer what is under way") \
    X(serving_served_max,     "serving.served_max",         INT,  10000,          0,    1e8,       "entries", "L", "length of the stream of served answers; 0: none") \
    X(serving_explore,        "serving.explore",            WORD, "none",         0,    0,         "none|thompson|plackett_luce", "", "how explored requests are ordered: plackett_luce draws the list from the scores and says each position's propensity; thompson draws the weights of the linear part (needs train.numeric_order = 2)") \
    X(serving_explore_frac,   "serving.explore_frac",       NUM,  0.05,           0.0,  1.0,       "", "", "share of the requests that are explored, chosen by their id") \
    X(serving_explore_temperature, "serving.explore_temperature", NUM, 1.0,       0.01, 100.0,     "", "", "plackett_luce: scores are divided by it, larger is closer to chance; thompson: factor on what is drawn; the report's off-policy estimates are for it too") \
    X(kernels_backend,        "kernels.backend",            WORD, "cpu",          0,    0,         "ref|cpu|cuda", "S", "arithmetic backend") \
    X(kernels_cpu,            "kernels.cpu",                WORD, "auto",         0,    0,         "auto|avx512bf16|avx512|avx2|base", "", "instruction set of backend cpu; auto: the best that this processor has") \
    X(kernels_precision,      "kernels.precision",          WORD, "f32",          0,    0,         "f32|tf32|bf16|int8", "S", "precision of the frozen layers' products; checked at load against f32 on a probe set; tf32: as f32, but that backend cuda may round operands to TF32") \
    X(kernels_train_precision, "kernels.train_precision",   WORD, "bf16",         0,    0,         "f32|tf32|bf16", "S", "precision of the trainable layers' operands (tf32: as above); sums, gradients and what is kept of them are f32") \
    X(kernels_min_cosine,     "kernels.min_cosine",         NUM,  0.97,           -1.0, 1.0,       "", "", "least cosine between a probe sentence's state in kernels.precision and in f32; below it the encoder is refused") \
    X(kernels_threads,        "kernels.threads",            INT,  2,              1,    256,       "threads", "", "workers that compute frozen states, and threads of the learner's products") \
    X(kernels_pin,            "kernels.pin",                BOOL, true,           0,    1,         "", "", "threads of the learner's and the scorer's products keep to one processor each; those that compute frozen states go where there is room") \
    X(kernels_cache_bytes,    "kernels.cache_bytes",        INT,  268435456,      1048576, 1e12,   "bytes", "", \
      "frozen states kept in memory") \
    X(kernels_states_dir,     "kernels.states_dir",         TEXT, "",             0,    500,       "", "", \
      "folder of states made beforehand by `freshet model warm`: read where memory has none; empty: none") \
    X(kernels_device,         "kernels.device",             INT,  0,              0,    63,        "", "", "backend cuda: which of the machine's devices") \
    X(kernels_device_mb,      "kernels.device_mb",          INT,  0,              0,    1048576,   "MiB", "", "backend cuda: memory taken on the device at start, for all that the process does there; 0: nine tenths of what is free") \
    X(kernels_device_cache_mb, "kernels.device_cache_mb",   INT,  256,            0,    1048576,   "MiB", "", "backend cuda: what a learner, and each thread of a scorer, keeps of frozen states on the device, of kernels.device_mb a 32nd at most; 0: they go up each time") \
    X(kernels_cudnn,          "kernels.cudnn",              WORD, "auto",         0,    0,         "auto|off", "", "backend cuda: auto: attention of trainable layers in bf16 goes through cuDNN 9 (libcudnn.so.9, or what FRESHET_CUDNN names) where it is found and takes the shape; off: kernels of freshet's own alone") \
    X(kernels_plans_dir,      "kernels.plans_dir",          TEXT, "",             0,    300,       "", "", "backend cuda: folder (without a comma) where plans that cuDNN has compiled are kept for the next start, which then need not compile them, about a second each; made if it is not there; empty: none are kept") \
    X(kernels_fallback,       "kernels.fallback",           WORD, "none",         0,    0,         "none|cpu", "", "when backend cuda cannot start (no plug-in, driver, device or memory): none: an error that says why; cpu: a warning, and the processor computes") \
    X(kernels_plugin,         "kernels.plugin",             TEXT, "",             0,    500,       "", "", \
      "backend cuda: the plug-in's file; empty: freshet_cuda.so beside the program, in ../lib/freshet, or where the dynamic linker looks")
/* clang-format on */

#define CONF_C_INT int64_t
#define CONF_C_NUM double
#define CONF_C_BOOL bool
#define CONF_C_TEXT char
#define CONF_C_WORD char
#define CONF_DIM_INT
#define CONF_DIM_NUM
#define CONF_DIM_BOOL
#define CONF_DIM_TEXT [CONF_TEXT]
#define CONF_DIM_WORD [32]

enum conf_label { CONF_LABEL_NONE, CONF_LABEL_POSITIVE, CONF_LABEL_NEGATIVE };
struct conf_type { /* what a behaviour type means */
    char name[64];
    enum conf_label label;
    double weight;                 /* of its examples in the loss */
    char template_text[CONF_TEXT]; /* empty: the shipped template of that type */
};
struct conf_pair {
    char *key, *value;
};
#define CONF_VARIANTS_MAX 7
#define CONF_VARIANT_NAME 33 /* bytes of its name, NUL included */
struct conf_variant {        /* schemas/conf_variant.h */
    char name[CONF_VARIANT_NAME];
    double share; /* of the users; live */
    bool shadow;  /* live */
    struct conf_pair *keys;
    size_t n_keys;
};
struct conf {
#define X(field, key, kind, def, lo, hi, unit, flags, text) CONF_C_##kind field CONF_DIM_##kind;
    CONF_LIST(X)
#undef X
    struct conf_type types[EVENT_TYPES_MAX]; /* built-in ones first, in the order of enum event_type */
    uint32_t n_types;
    struct conf_pair *kafka; /* without the prefix "kafka." */
    size_t n_kafka;
    struct conf_variant *variants;
    size_t n_variants;
};

/* Defaults, built-in types included.  Built-in labels: click cart like purchase positive; dislike uncart refund negative;
 * view rating none. */
enum status conf_new(struct conf **out, struct err *e) MUST_CHECK;
void conf_free(struct conf *c);
/* Sets one key from text.  INVALID names key, value, range and, for an unknown key, the nearest known one. */
enum status conf_set(struct conf *c, const char *key, const char *value, struct err *e) MUST_CHECK;
/* Reads an INI file; errors name path:line.  IO when it can't be read. */
enum status conf_load(struct conf *c, const char *path, struct err *e) MUST_CHECK;
/* Takes FRESHET_* variables (FRESHET_TRAIN_SEED=3); others that begin with FRESHET_ and name no key are ignored. */
enum status conf_load_environment(struct conf *c, struct err *e) MUST_CHECK;
/* "section.key=value" as given to -o. */
enum status conf_set_option(struct conf *c, const char *option, struct err *e) MUST_CHECK;
/* All keys that begin so have their defaults again ("join.", "train.rank"; "kafka." and "variant.": none are left).  OOM. */
enum status conf_reset(struct conf *c, const char *beginning, struct err *e) MUST_CHECK;
/* Rules over several keys, once everything is read; INVALID names the keys.  Single values were checked when set. */
enum status conf_check(const struct conf *c, struct err *e) MUST_CHECK;
void conf_dump(const struct conf *c, struct buf *b); /* effective configuration as an INI file */
void conf_document(struct buf *b);                   /* CONFIG.md */
/* The keys that give a state folder its meaning (flag S, types and their templates), one `key=value` line each. */
void conf_meaning(const struct conf *c, struct buf *b);
/* The same of all that processes which learn as one must have alike (train.ranks): all but where each stands and runs. */
void conf_common(const struct conf *c, struct buf *b);
int conf_type_find(const struct conf *c, struct str name); /* index or -1 */
bool conf_reads_text(const struct conf *c); /* some part of model.parts reads sentences: an encoder is needed */
bool conf_list_has(const char *list, const char *word); /* "a,b,c" has "b" (blanks around commas ignored) */
/* The next of such a list's words, which may be empty; *at begins as the list.  False: it is through. */
bool conf_list_next(const char **at, struct str *word);
/* Parses "24,168,672,2160" into exactly n numbers > 0. */
enum status conf_numbers(const char *list, double *out, size_t n, const char *key, struct err *e) MUST_CHECK;
#define CONF_TASKS_MAX 8
/* train.tasks as indices of types, in its order (task t); returns how many.  For a configuration that conf_check passed. */
uint32_t conf_tasks(const struct conf *c, uint8_t types[CONF_TASKS_MAX]);
/* rank.utility by task, 0 for those it does not name; false: it is empty. */
bool conf_utility(const struct conf *c, double weights[CONF_TASKS_MAX]);
/* What both demand, for conf_check: INVALID. */
enum status conf_check_tasks(const struct conf *c, struct err *e) MUST_CHECK;
/* "90s" "15m" "2h" "7d" "250ms" or plain milliseconds. */
enum status conf_duration_ms(const char *text, int64_t *out, struct err *e) MUST_CHECK;
#endif
