/* reservoir_private.h - the reservoir's insides, shared by reservoir.c and reservoir_state.c alone. */
#ifndef TRAINER_RESERVOIR_PRIVATE_H
#define TRAINER_RESERVOIR_PRIVATE_H
#include "base/buf.h"
#include "trainer/reservoir.h"

struct reservoir_place {
    unsigned char *bytes; /* slate_encode */
    size_t n;
    uint64_t order;
    bool changed; /* since reservoir_saved */
};
struct reservoir {
    const struct conf *conf;
    struct reservoir_place *places;    /* train.reservoir_slates; the first n are taken */
    size_t n, cap, bytes;              /* cap: places in use, fewer once the bytes ran out */
    uint64_t offered, asked, replayed; /* slates; reservoir_draw with anything held; what it gave */
    size_t stored;                     /* places that the store has records of */
    struct buf pack;
};
#endif
