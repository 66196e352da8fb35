/* encoder_weights.h - inside the encoder: struct encoder, and the names of a layer's tensors.
 *
 * For encoder.c, which reads them, and encoder_export.c, which writes them.  Nobody else includes it.
 */
#ifndef MODEL_ENCODER_WEIGHTS_H
#define MODEL_ENCODER_WEIGHTS_H
#include "base/arena.h"
#include "model/encoder.h"
#include "model/safetensors.h"

struct encoder {
    char *dir;
    struct encoder_shape shape;
    struct encoder_embedding embedding;
    struct kern_layer *layers; /* (L) */
    struct safetensors *file;     /* weights point into its map, or into the arena where they had to be made */
    struct arena arena;
    const char *prefix; /* of the tensors' names: "" or "bert." */
    struct kern *kern;  /* packed the matrices; NULL: none did */
    size_t n_packed;    /* matrices packed so far */
    /* What runs compute with: embedding and layers as they are, or copies in kern's own memory, which `block` owns. */
    struct encoder_embedding placed_embedding;
    struct kern_layer *placed; /* (L) */
    void *block;                  /* NULL: kern sees the host's memory */
    double cosine;                /* encoder_precision_cosine */
    uint64_t fingerprint;
};

/* Makes m->placed for kern k (NULL: host memory).  OOM, naming what it takes. */
enum status encoder_place(struct encoder *m, struct kern *k, struct err *e) MUST_CHECK;
void encoder_unplace(struct encoder *m);
struct kern_matrix *encoder_matrix(struct encoder *m, size_t i);   /* placed matrix i: four a layer */
void encoder_mean(float *out, const float *x, size_t n, size_t C); /* out (C) of x (n, C), n > 0; summed in double */
/* Of a sentence vector (C) made of a mean or of [CLS]: unit length, where the folder says so. */
void encoder_pool_end(const struct encoder *m, float *vector);
/* Packs all matrices again in another precision. */
enum status encoder_repack(struct encoder *m, enum kern_precision prec, struct err *e) MUST_CHECK;

/* A layer's tensors in the order of this table; what each is called, and where its values stand. */
#define ENCODER_LAYER_TENSORS 16
struct encoder_layer_tensor {
    const char *name; /* after "encoder.layer.<l>." */
    const char *old;  /* what old checkpoints call it, or NULL */
};
extern const struct encoder_layer_tensor encoder_layer_tensors[ENCODER_LAYER_TENSORS];
const float *encoder_layer_values(const struct kern_layer *w, size_t which, size_t C);
#endif
