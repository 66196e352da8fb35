/* variants_private.h - the variants' insides, shared by variants*.c alone. */
#ifndef JOB_VARIANTS_PRIVATE_H
#define JOB_VARIANTS_PRIVATE_H
#include "job/variants.h"
#include "trainer/arms.h"
#include "trainer/paired.h"

struct variants {
    const struct conf *conf;
    const struct line *first;
    struct conf *own[CONF_VARIANTS_MAX];
    struct line *lines[CONF_VARIANTS_MAX];
    size_t row[CONF_VARIANTS_MAX]; /* of its logits among an open slate's part logits; its parts follow */
    bool fresh[CONF_VARIANTS_MAX];
    size_t n, rows;
    size_t in_charge;
    struct open_predictions rows_of; /* scratch for cap_items candidates: all lines' */
    size_t cap_items;
    struct slate *copy; /* scratch */
    struct buf pack;
    struct paired *paired; /* (CONF_LINES_MAX) each line against the one in charge; NULL without variants */
    struct arms *arms;     /* likewise */
    char *gone
        [CONF_LINES_MAX]; /* variants of the state that the configuration has not: they leave it with the next save */
    size_t n_gone;
};
#endif
