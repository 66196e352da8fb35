/* model_world.h - a small model with all that it stands on, for tests: the tiny encoder of tests/golden/model, a state
 * cache, parameters, one run, and the slates of the golden file.
 */
#ifndef TESTS_SUPPORT_MODEL_WORLD_H
#define TESTS_SUPPORT_MODEL_WORLD_H
#include "model/model.h"
#include "model/safetensors.h"

enum { WORLD_SLATES = 10, WORLD_NUMERIC = 4, WORLD_SENTENCES = 14 };

struct model_world {
    struct safetensors *golden;
    struct conf *conf;
    struct kern *kern; /* that packed the encoder */
    struct encoder *enc;
    struct model *model;
    struct state_cache *states;
    struct param_set *p;
    struct model_run *run;
    struct slate *slates[WORLD_SLATES];
};
/* Opens everything with the golden file's configuration, then the options "key=value" (NULL-terminated list, or NULL).
 * Parameters are model_init_params', bound to a learning run.  Fails the running test on any error. */
void model_world_open(struct model_world *w, const char *backend, const char *view, int layers,
                      const char *const *options);
void model_world_close(struct model_world *w);
/* Values of a tensor of the golden file (n of them, in the map); fails when it is absent. */
const float *model_world_numbers(const struct model_world *w, const char *name, size_t *n);
/* Sets the parameter tensor `name` from values; fails when it is absent. */
void model_world_set(struct model_world *w, const char *name, const float *values, size_t n);
const struct param *model_world_param(const struct model_world *w, const char *name); /* or NULL */
/* A slate in which candidate i is item i % 7 with sentence i % WORLD_SENTENCES, label 1 at every fifth, after E
 * events. */
struct slate *model_world_slate(const struct model_world *w, uint32_t n_items, uint32_t n_events);
/* Fills the parameters with small fixed numbers where they are zero or normal, so that every gradient flows. */
void model_world_shake(struct model_world *w);
#endif
