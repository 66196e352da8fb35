/* state_file.h - frozen states on disk: what the cache would have to compute, made beforehand by `freshet model warm`.
 *
 * One file <folder>/<key>.states holds the states of many sentences for one encoder, layer, precision and kind of entry;
 * all of that is in the key, so files of several models lie side by side.  A cache that has one attached reads a missing
 * sentence from it before it computes.  Format (little-endian, version STATE_FILE_FORMAT):
 *
 *   header   "FRST", format, key, base, width, mid, tokens, precision, probe, records, place of the index, its XXH3, XXH3 of all this
 *   records  hash, n_tokens, 0, bf16 pooled (C), final (C), tokens (n_tokens, C), XXH3 of it all
 *   index    hash, place of the record; by ascending hash
 *
 * Every byte is under a check: a damaged header or index refuses the file, a damaged record is left out (its sentence is
 * computed).  The index is held in memory (16 bytes a sentence, within the cache's bound), records are read when they are
 * asked for; nothing is mapped, so that a disk that fails or a file that is cut meanwhile is a miss and no SIGBUS.  A file is
 * never changed, only replaced.
 */
#ifndef MODEL_STATE_FILE_H
#define MODEL_STATE_FILE_H
#include "base/status.h"
#include "model/state.h"
#include "schemas/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_FILE_FORMAT 1
#define STATE_FILE_NAME_MAX 32

/* What the numbers of an entry follow from, beside its sentence. */
struct state_file_kind {
    uint64_t key;  /* state_key(c, 0): frozen weights, layer, precision, token states or not */
    uint64_t base; /* encoder_fingerprint: weights and precision */
    uint32_t width, mid;
    enum kern_precision precision; /* of the frozen layers */
    bool tokens;
};
struct state_file_kind state_file_kind(const struct state_cache *c);
void state_file_name(char out[STATE_FILE_NAME_MAX], const struct state_file_kind *k); /* "0123456789abcdef.states" */
/* Hash over the states of the probe set as c computes them here and now: it tells apart what the key can't, instruction
 * sets and versions of the kernels, whose last bits differ.  Before c is used; leaves its counts at 0.  Errors of state_acquire. */
enum status state_file_probe(struct state_cache *c, uint64_t *out, struct err *e) MUST_CHECK;

/* --- reading: thread any */
struct state_file;
/* Header and index, checked; the index takes at most `room` bytes.  NOT_FOUND: no such file; CONFLICT: of another kind, naming
 * what differs; CORRUPT; UNSUPPORTED: another format; FULL: a larger index; OOM, IO.  *out is the caller's (state_file_close),
 * NULL on failure. */
enum status state_file_open(struct state_file **out, const char *path, const struct state_file_kind *want, size_t room,
                            struct err *e) MUST_CHECK;
void state_file_close(struct state_file *f); /* NULL is fine */
size_t state_file_count(const struct state_file *f);
size_t state_file_index_bytes(const struct state_file *f);
uint64_t state_file_bytes(const struct state_file *f);          /* on disk */
uint64_t state_file_hash(const struct state_file *f, size_t i); /* of sentence i < count, ascending */
uint64_t state_file_probed(const struct state_file *f);         /* state_file_probe where the file was made */
bool state_file_has(const struct state_file *f, uint64_t hash); /* in the index; no disk is touched */
/* numbers (2 + n_tokens, C) written: pooled, final, tokens.  n_tokens: what the entry has (0 unless tokens are kept).
 * NOT_FOUND; CORRUPT: the record is damaged or of another length; IO.  Allocates nothing; numbers mean nothing on failure. */
enum status state_file_read(const struct state_file *f, uint64_t hash, uint32_t n_tokens, uint16_t *numbers,
                            struct err *e) MUST_CHECK;
/* n_tokens of the record, not checked yet; 0 when there is none. */
uint32_t state_file_tokens(const struct state_file *f, uint64_t hash);

/* What a scorer or learner does at its start: from now on c reads what it misses from the file of its kind in `dir` ("":
 * there is none).  A file that is absent, damaged, of another kind, or whose index is more than an eighth of the cache's bound
 * is left alone, with a line in the log: states are then computed as without it.  exact: so is one whose probe is not
 * ours, because what a learner learns must not depend on where a file was made.  Before c is used.  OOM, errors of state_acquire. */
enum status state_file_attach(struct state_cache *c, const char *dir, bool exact, struct err *e) MUST_CHECK;

/* --- writing: one thread */
struct state_file_writer;
/* Begins the file of this kind in dir (made when absent) beside the one that is there, which stays until commit.
 * CONFLICT: another process writes it; OOM, IO, FULL. */
enum status state_file_create(struct state_file_writer **out, const char *dir, const struct state_file_kind *k,
                              uint64_t probe, struct err *e) MUST_CHECK;
bool state_file_added(const struct state_file_writer *w, uint64_t hash);
/* A sentence that was added already is passed over.  INVALID: another width, tokens where none are kept.  OOM, IO, FULL. */
enum status state_file_add(struct state_file_writer *w, uint64_t hash, const struct record_state *s,
                           struct err *e) MUST_CHECK;
/* Durably in place of the one before: index, header, fsync, rename, fsync of the folder.  *bytes: of the file. */
enum status state_file_commit(struct state_file_writer *w, uint64_t *bytes, struct err *e) MUST_CHECK;
void state_file_writer_free(struct state_file_writer *w); /* what is not committed is gone; NULL is fine */
#endif
