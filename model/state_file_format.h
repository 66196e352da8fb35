/* state_file_format.h - the layout of a state file, for its reader and its writer alone.
 *
 * Structs without padding, written as they lie in memory; what each means is in state_file.h.
 */
#ifndef MODEL_STATE_FILE_FORMAT_H
#define MODEL_STATE_FILE_FORMAT_H
#include "base/hash.h"
#include "model/state_file.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "state files are written from memory as it lies");

struct state_file_head {
    char magic[4];
    uint32_t format;
    uint64_t key, base;
    uint32_t width, mid, tokens, precision; /* precision: enum kern_precision */
    uint64_t probe;
    uint64_t n, index_at, index_check; /* records; place and XXH3 of the index, which ends the file */
    uint64_t check;                    /* XXH3 of all before */
};
_Static_assert(sizeof(struct state_file_head) == 80, "no padding");
struct state_file_record { /* before the numbers; their check, 8 bytes, is behind them */
    uint64_t hash;
    uint32_t n_tokens, zero;
};
struct state_file_place {
    uint64_t hash, at;
};

static inline uint64_t state_file_head_check(const struct state_file_head *h)
{
    return hash_bytes(h, offsetof(struct state_file_head, check));
}

static inline size_t state_file_numbers_bytes(uint32_t width, uint32_t n_tokens)
{
    return (2 + (size_t)n_tokens) * width * sizeof(uint16_t);
}

/* Seeded by what stands before the numbers and by the file's kind: a record that was moved or copied here fails. */
static inline uint64_t state_file_record_check(uint64_t key, const struct state_file_record *r, const void *numbers,
                                               size_t bytes)
{
    return hash_seeded(numbers, bytes, hash_mix(key, hash_bytes(r, sizeof *r)));
}
#endif
