/* metric.h - the figures of a process: counters, gauges, histograms with fixed places, and their Prometheus text.
 *
 * One table names every metric of freshet with type and unit: what a scorer shows at /metrics, and the fields that the
 * learner writes to fr:m:metrics.  docs/METRICS.md is made from it.  All calls are atomic and allocate nothing, except
 * metric_new and the writers.  Thread: any.
 */
#ifndef SERVING_METRIC_H
#define SERVING_METRIC_H
#include "base/buf.h"
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
/* name, kind, unit, text: fields of the hash fr:m:metrics and of every entry of fr:m:metrics:ts */
#define METRIC_JOB_LIST(X)                                                                                             \
    X("events_total", COUNTER, "events", "records taken: events, and those that were rejected, skipped or came twice")                                    \
    X("examples_total", COUNTER, "examples", "examples scored")                                                        \
    X("rejected_total", COUNTER, "events", "events rejected")                                                          \
    X("skipped_total", COUNTER, "events", "events skipped by a rule of the map")                                       \
    X("duplicates_total", COUNTER, "events", "events dropped as duplicates")                                           \
    X("slates_total", COUNTER, "slates", "slates opened")                                                              \
    X("steps_total", COUNTER, "steps", "optimiser steps")                                                              \
    X("steps_refused_total", COUNTER, "steps", "not made: a gradient was not finite")                                  \
    X("events_per_s", GAUGE, "events/s", "since the last write")                                                       \
    X("examples_per_s", GAUGE, "examples/s", "since the last write")                                                   \
    X("lag_events", GAUGE, "events", "events that wait in Kafka; 0 while unknown")                                     \
    X("lag_ms", GAUGE, "ms", "wall clock minus watermark; 0 in a replay")                                              \
    X("logloss", GAUGE, "nats", "progressive validation: mean log-loss")                                               \
    X("auc", GAUGE, "1", "progressive validation: pooled AUC")                                                         \
    X("gauc", GAUGE, "1", "progressive validation: mean AUC of slates with both labels")                               \
    X("ne", GAUGE, "1", "normalised entropy: log-loss over the entropy of the base rate")                              \
    X("calibration", GAUGE, "1", "predicted over observed positives")                                                  \
    X("evaluated_examples", GAUGE, "examples", "examples behind the figures above")                                    \
    X("recent_logloss", GAUGE, "nats", "the same over the newest examples")                                            \
    X("recent_auc", GAUGE, "1", "the same over the newest examples")                                                   \
    X("recent_gauc", GAUGE, "1", "the same over the newest slates")                                                    \
    X("recent_calibration", GAUGE, "1", "the same over the newest examples")                                           \
    X("recent_examples", GAUGE, "examples", "examples behind the recent figures")                                      \
    X("popularity_gauc", GAUGE, "1", "baseline: popularity alone")                                                     \
    X("gate_blessed_version", GAUGE, "1", "version that the line is judged against and goes back to; 0: none yet")      \
    X("gate_judged_total", COUNTER, "slates", "slates that the blessed version scored too")                            \
    X("gate_worse", GAUGE, "1", "evidence against the line: at 1 it is rolled back; an innocent one stays below 0.01") \
    X("gate_loss_harm", GAUGE, "nats", "log-loss of the line less the blessed version's, on the same slates since it was blessed, users weighted") \
    X("gate_auc_harm", GAUGE, "1", "the blessed version's mean AUC of a list less the line's, likewise")               \
    X("gate_blessings_total", COUNTER, "versions", "versions blessed")                                                 \
    X("gate_rollbacks_total", COUNTER, "rollbacks", "times the line went back to its blessed version")                 \
    X("gate_refused_total", COUNTER, "versions", "versions not published: not finite, too far away, degenerate")       \
    X("gate_rests", GAUGE, "1", "1 while nothing is learnt after a rollback (gate.cooldown_ms)")                       \
    X("gate_rested_total", COUNTER, "slates", "slates not learnt from meanwhile")                                      \
    X("gate_pinned_version", GAUGE, "1", "version that stays published by order; 0: none")                             \
    X("part_NAME_gain", GAUGE, "1", "GAUC that is lost without part NAME, one for each of model.parts")                \
    X("part_NAME_cost_us", GAUGE, "us", "what part NAME takes to score a candidate and learn an example")              \
    X("part_NAME_cost_share", GAUGE, "1", "share of part NAME in what all parts take")                                 \
    X("open_slates", GAUGE, "slates", "slates that wait for their labels")                                             \
    X("late_total", COUNTER, "events", "behaviours after their slate was settled")                                     \
    X("unmatched_total", COUNTER, "events", "behaviours that no slate shows")                                          \
    X("repeated_total", COUNTER, "events", "behaviours that said what an equal or stronger one had said of the item")  \
    X("expired_total", COUNTER, "slates", "slates whose window ended without a mark")                                  \
    X("early_settled_total", COUNTER, "slates", "slates settled before their window's end: join.open_slates or join.max_bytes") \
    X("reservoir_slates", GAUGE, "slates", "learnt lists that are held to be learnt again (train.replay_share)")        \
    X("reservoir_bytes", GAUGE, "bytes", "what they take, at most train.reservoir_bytes and their table")               \
    X("replayed_total", COUNTER, "slates", "times that an old list was learnt again")                                  \
    X("sample_ratio_alarm", GAUGE, "1", "1 while the users of the variants are not split as configured (report: sample_ratio)") \
    X("unknown_token_frac", GAUGE, "1", "share of [UNK] among all tokens; above 0.05 the vocabulary does not fit")      \
    X("users", GAUGE, "users", "users known")                                                                          \
    X("items", GAUGE, "items", "items known")                                                                          \
    X("state_hits_total", COUNTER, "sentences", "frozen states found in memory")                                       \
    X("state_misses_total", COUNTER, "sentences", "frozen states not found there: read from the file of states or computed") \
    X("state_hit_frac", GAUGE, "1", "share of the sentences asked for whose states were in memory already")            \
    X("state_file_hits_total", COUNTER, "sentences", "frozen states read from the file of states (kernels.states_dir)") \
    X("state_file_damaged_total", COUNTER, "sentences", "records of that file that failed their check: computed instead") \
    X("states_computed_total", COUNTER, "sentences", "frozen states computed")                                         \
    X("states_evicted_total", COUNTER, "sentences", "frozen states that left memory to make room")                     \
    X("state_entries", GAUGE, "sentences", "frozen states in memory")                                                  \
    X("state_bytes", GAUGE, "bytes", "what they take: at most kernels.cache_bytes, but for what is in use at once")                                    \
    X("device_rows_hit_total", COUNTER, "rows", "backend cuda: rows of frozen states found on the device (kernels.device_cache_mb)") \
    X("device_rows_missed_total", COUNTER, "rows", "rows of frozen states that went up to it")                        \
    X("device_rows_left_total", COUNTER, "rows", "rows of frozen states that left it to make room")                   \
    X("rss_bytes", GAUGE, "bytes", "largest resident memory so far")                                                   \
    X("version", GAUGE, "1", "newest checkpoint")                                                                      \
    X("version_age_ms", GAUGE, "ms", "since that checkpoint")                                                          \
    X("watermark_ms", GAUGE, "ms", "event time reached, since 1970")                                                   \
    X("paused", GAUGE, "1", "1 while learning waits for room on the disk (state of fr:m:info says so too)")            \
    X("guard_paused", GAUGE, "1", "1 while learning is paused by an alarm (trouble of fr:m:info says which)")             \
    X("guard_alarms_total", COUNTER, "alarms", "monitors that left their level")                                       \
    X("guard_out", GAUGE, "monitors", "monitors that are away from their level")                                       \
    X("guard_paused_ms", GAUGE, "ms", "event time of all pauses together")                                             \
    X("guard_paused_examples_total", COUNTER, "examples", "evaluated, and not learnt because of a pause")              \
    X("guard_capped_examples_total", COUNTER, "examples", "not learnt: beyond the cap of their user, item or source")  \
    X("guard_quarantined", GAUGE, "sources", "sources whose events go to the dead letters")                            \
    X("guard_quarantined_events_total", COUNTER, "events", "of sources in quarantine, rejected")                       \
    X("guard_loss_spikes_total", COUNTER, "steps", "left out because of their loss (guard.loss_spike)")                \
    X("served_answers_total", COUNTER, "answers", "read from the log of answers (fr:m:served) by a stream job")        \
    X("served_joined_total", COUNTER, "lists", "settled lists whose answer was there, by their request")               \
    X("served_unmatched_total", COUNTER, "answers", "no list came before eval.served_answers newer ones did")          \
    X("served_gauc", GAUGE, "1", "GAUC of the logits that were served")                                                \
    X("served_logloss", GAUGE, "nats", "their log-loss")                                                               \
    X("served_calibration", GAUGE, "1", "predicted over observed positives of what was served")                        \
    X("served_skew_p99", GAUGE, "1",                                                                                   \
      "99 % of the items: the learner's logit when the list came is this close to the served one")                     \
    X("served_version_skew_p99", GAUGE, "1",                                                                           \
      "the same of the version that answered, scored by the learner for the request's time; 0 where all is well")      \
    X("served_features_equal_frac", GAUGE, "1",                                                                        \
      "share of these items whose features the learner makes the same; below 1 the scorer did not know all yet")       \
    X("published_version", GAUGE, "1", "newest version handed to Redis")                                               \
    X("lease_held", GAUGE, "1", "1 while the model's lease is ours")                                                   \
    X("lease_epoch", GAUGE, "1", "epoch of the lease; grows with every owner")                                         \
    X("kafka_up", GAUGE, "1", "1 while a broker answers; 1 for log files")                                             \
    X("kafka_down_ms", GAUGE, "ms", "since when no broker answers; 0: one does")                                       \
    X("partitions", GAUGE, "partitions", "read at the moment")                                                         \
    X("rebalances_total", COUNTER, "rebalances", "assignments of the group that changed")                              \
    X("partitions_lost_total", COUNTER, "partitions", "taken away without being asked for")                            \
    X("offset_duplicates_total", COUNTER, "messages", "below the expected offset, dropped")                            \
    X("offset_gaps_total", COUNTER, "offsets", "that were never there")                                                \
    X("offset_gap_alarms_total", COUNTER, "offsets", "of these, in topics that are neither compacted nor transactional")\
    X("unaligned_total", COUNTER, "partitions", "no longer waited for, after ingest.align_ms, until something came of them") \
    X("backup_age_ms", GAUGE, "ms", "since the newest hot backup of this run was begun; 0: none, or it failed")                            \
    X("backup_failures_total", COUNTER, "backups", "that failed in this run")                                          \
    X("recovered", GAUGE, "1", "1 when the state folder was damaged at the start and a backup took its place")         \
    X("dirty_bytes", GAUGE, "bytes", "changed records in memory, not durable yet")                                     \
    X("memory_bound_bytes", GAUGE, "bytes", "what memory can come to by the configuration")                            \
    X("freshness_p50_ms", GAUGE, "ms", "by scorers: last settling event of a version to its first response, median")   \
    X("freshness_p99_ms", GAUGE, "ms", "the same, 99th percentile")

/* id, name, kind, unit, text: a scorer's /metrics, each with the prefix freshet_ */
#define METRIC_LIST(X)                                                                                                 \
    X(VERSION, "version", GAUGE, "1", "version in force; 0: none yet")                                                 \
    X(VERSION_AGE_MS, "version_age_ms", GAUGE, "ms", "since that version was published")                               \
    X(VERSIONS_LOADED, "versions_loaded_total", COUNTER, "versions", "versions verified and put in force")             \
    X(VERSIONS_REFUSED, "versions_refused_total", COUNTER, "versions", "versions that failed a check")                 \
    X(VERSIONS_SUPERSEDED, "versions_superseded_total", COUNTER, "versions", "versions that a newer one replaced while they were read") \
    X(REFUSED_VERSION, "refused_version", GAUGE, "1", "version that is refused and tried again; 0: none")              \
    X(FETCH_FAILURES, "fetch_failures", GAUGE, "tries", "failures in a row of looking for or taking the newest version") \
    X(PASSES, "passes_total", COUNTER, "passes", "passes over the model; requests over passes were scored together") \
    X(HAND_WAIT_MAX_MS, "hand_wait_max_ms", GAUGE, "ms", "longest that a request waited for a free pass over the model, swaps included") \
    X(LOAD_MS, "version_load_ms", GAUGE, "ms", "fetching and verifying the newest version")                            \
    X(FRESHNESS_P50_MS, "freshness_p50_ms", GAUGE, "ms", "last settling event of a version to its first response, median") \
    X(FRESHNESS_P99_MS, "freshness_p99_ms", GAUGE, "ms", "the same, 99th percentile")                                  \
    X(CANDIDATES, "candidates_total", COUNTER, "items", "candidates scored")                                           \
    X(UNKNOWN_USERS, "unknown_users_total", COUNTER, "requests", "requests for a user that is not known")              \
    X(UNKNOWN_ITEMS, "unknown_items_total", COUNTER, "items", "candidates that are not known")                         \
    X(DEGRADED, "degraded_total", COUNTER, "requests", "answers made without Redis")                                   \
    X(REDIS_UP, "redis_up", GAUGE, "1", "1 while the scorer's watch reaches Redis")                                    \
    X(STATES_FETCHED, "states_fetched_total", COUNTER, "sentences", "frozen states taken from Redis")                  \
    X(STATES_COMPUTED, "states_computed_total", COUNTER, "sentences", "frozen states computed here")                   \
    X(STATE_HITS, "state_hits_total", COUNTER, "sentences", "frozen states found in memory, those just taken from Redis included") \
    X(STATE_MISSES, "state_misses_total", COUNTER, "sentences", "frozen states not found there: read from the file of states or computed") \
    X(STATE_HIT_FRAC, "state_hit_frac", GAUGE, "1", "share of the sentences asked for whose states were in memory already") \
    X(STATE_FILE_HITS, "state_file_hits_total", COUNTER, "sentences", "frozen states read from the file of states (kernels.states_dir)") \
    X(STATE_FILE_DAMAGED, "state_file_damaged_total", COUNTER, "sentences", "records of that file that failed their check: computed instead") \
    X(STATES_EVICTED, "states_evicted_total", COUNTER, "sentences", "frozen states that left memory to make room")     \
    X(STATE_ENTRIES, "state_entries", GAUGE, "sentences", "frozen states in memory")                                   \
    X(STATE_BYTES, "state_bytes", GAUGE, "bytes", "what they take: at most kernels.cache_bytes, but for what is in use at once")                       \
    X(RECORDS_HITS, "record_hits_total", COUNTER, "records", "records of users and items that were decoded already")   \
    X(RECORDS_DECODED, "records_decoded_total", COUNTER, "records", "records of users and items decoded")              \
    X(RECORD_BYTES, "record_bytes", GAUGE, "bytes", "decoded records in memory (estimate)")                            \
    X(SERVED_DROPPED, "served_dropped_total", COUNTER, "answers", "answers not logged to fr:m:served (full queue, no Redis)") \
    X(SHADOWS, "shadows_total", COUNTER, "requests", "requests that a shadow variant scored after the answer")         \
    X(SHADOWS_DROPPED, "shadows_dropped_total", COUNTER, "requests", "requests that no shadow scored: too many at once") \
    X(EVENTS_ACCEPTED, "events_accepted_total", COUNTER, "events", "events taken by /v1/events")                       \
    X(CONNECTIONS, "connections", GAUGE, "connections", "open connections")                                            \
    X(CONNECTIONS_REFUSED, "connections_refused_total", COUNTER, "connections", "answered 503 at the door: serving.max_connections") \
    X(CONNECTIONS_ENDED, "connections_ended_total", COUNTER, "connections", "ended because they dawdled or made room for another")
/* id, label: why a version could not be had: fetch_failures_total{reason} */
#define METRIC_FETCH_LIST(X)                                                                                           \
    X(REDIS, "redis") X(MEMORY, "memory") X(CURRENT, "current") X(MANIFEST, "manifest") X(BASE, "base")                \
    X(CHUNK, "chunk") X(FILE, "file") X(PARAMETERS, "parameters") X(PROBE, "probe")
/* clang-format on */

enum metric_fetch {
#define X(id, label) METRIC_FETCH_##id,
    METRIC_FETCH_LIST(X)
#undef X
        METRIC_FETCH_COUNT
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };
enum metric_id {
#define X(id, name, kind, unit, text) METRIC_##id,
    METRIC_LIST(X)
#undef X
        METRIC_COUNT
};

/* Requests are counted by route and status, and timed by route: http_requests_total, http_request_seconds. */
enum metric_route {
    METRIC_ROUTE_RERANK,
    METRIC_ROUTE_EVENTS,
    METRIC_ROUTE_MODELS,
    METRIC_ROUTE_INFER,
    METRIC_ROUTE_METADATA,
    METRIC_ROUTE_HEALTH,
    METRIC_ROUTE_METRICS,
    METRIC_ROUTE_PAGE,
    METRIC_ROUTE_OTHER,
    METRIC_ROUTES
};

struct metric;
enum status metric_new(struct metric **out, struct err *e) MUST_CHECK;
void metric_free(struct metric *m);
void metric_add(struct metric *m, enum metric_id id, uint64_t n); /* counters */
/* Counters that are kept elsewhere: what they say now. */
void metric_total(struct metric *m, enum metric_id id, uint64_t n);
void metric_set(struct metric *m, enum metric_id id, double value); /* gauges */
double metric_get(const struct metric *m, enum metric_id id);
void metric_request(struct metric *m, enum metric_route route, int status, double seconds);
uint64_t metric_requests(const struct metric *m); /* all so far */
void metric_fetch_failure(struct metric *m, enum metric_fetch reason);
const char *metric_fetch_name(enum metric_fetch reason); /* "chunk" */
/* A request waited this long for a free pass: hand_wait_seconds and HAND_WAIT_MAX_MS. */
void metric_hand_wait(struct metric *m, double seconds);
/* One version's freshness; sets FRESHNESS_P50_MS and _P99_MS from the newest METRIC_FRESHNESS versions. */
#define METRIC_FRESHNESS 512
void metric_freshness(struct metric *m, double ms);
uint64_t metric_freshness_count(const struct metric *m);
void metric_write_prometheus(const struct metric *m, struct buf *b); /* text format 0.0.4 */
void metric_write_document(struct buf *b); /* docs/METRICS.md: freshet check --print-metrics-doc */
#endif
