/* variants_private.h - the variants' insides, shared by variants*.c alone. */
#ifndef JOB_VARIANTS_PRIVATE_H
#define JOB_VARIANTS_PRIVATE_H
#include "job/variants.h"
#include "trainer/arms.h"
#include "trainer/gate_snapshot.h"
#include "trainer/paired.h"

struct follower {            /* of a line with train.follow_ms */
    int64_t first_ms;        /* its periods count from; INT64_MIN: no slate yet */
    uint64_t periods, times; /* whole periods when it last took parameters; how often it did */
};
struct variants {
    const struct conf *conf;
    const struct line *first;
    struct conf *own[CONF_VARIANTS_MAX];
    struct line *lines[CONF_VARIANTS_MAX];
    size_t row[CONF_VARIANTS_MAX]; /* of its logits among an open slate's part logits; its parts follow */
    bool fresh[CONF_VARIANTS_MAX];
    struct follower followers[CONF_VARIANTS_MAX];
    struct gate_snapshot *lead; /* scratch of those that follow; NULL until one is due */
    size_t n, rows;
    size_t in_charge;
    struct eval_warmup warmup;       /* slates before it are in no comparison, as in no figure */
    uint64_t settled;                /* slates so far */
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
/* variants_follow.c: lines that are due take the first one's parameters, moments and sums. */
enum status variants_follow(struct variants *v, const struct slate *s, int64_t first_ms, struct err *e) MUST_CHECK;
/* A line that follows has the first one's architecture.  INVALID. */
enum status variants_can_follow(const struct variants *v, size_t i, struct err *e) MUST_CHECK;
#endif
