/* model_inside.h - struct model for model.c (the architecture) and model_run.c (one thread's hands).  Nobody else
 * includes it.
 */
#ifndef MODEL_MODEL_INSIDE_H
#define MODEL_MODEL_INSIDE_H
#include "model/model.h"
#include "model/part.h"

struct model {
    const struct encoder *enc; /* NULL: none */
    size_t C;                  /* 0 without encoder */
    size_t frozen, max_events;
    uint32_t n_numeric;
    bool dropout, wants_states, wants_tokens;
    char backend[32];
    struct part *parts[MODEL_PARTS_MAX + 1]; /* [0]: the intercepts */
    size_t n_parts;                          /* with them */
    struct param_table table;
    uint64_t fingerprint;
};
#endif
