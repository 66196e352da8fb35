/* encoder.h - the pretrained BERT-family encoder: read from a Hugging Face folder, run on one sentence at a time.
 *
 * struct encoder is the frozen base model: immutable, shared by threads.  struct encoder_run is one thread's hands: its
 * own kernels and scratch.  One idea: a sentence is always computed alone, so the bits of its states depend on nothing
 * but the sentence (Devlin et al. 2018 for the network, post-LayerNorm; Reimers and Gurevych 2019 for pooling).  What
 * is trained on top starts from encoder_layer() and lives elsewhere (param.h); the embeddings stay frozen.
 */
#ifndef MODEL_ENCODER_H
#define MODEL_ENCODER_H
#include "base/status.h"
#include "kernels/kern.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct encoder;
struct encoder_run;

struct encoder_shape {
    size_t C, H, F, L, V; /* hidden, heads, FFN width, layers, vocabulary */
    size_t P, types;      /* rows of the position and of the token-type table */
    float eps;            /* of every LayerNorm */
    enum kern_act act;    /* between up and down */
    bool pool_cls;        /* the sentence vector is [CLS]'s state, else the mean of all tokens */
    bool unit;            /* the folder normalises the sentence vector to unit length */
    size_t max_tokens;    /* sentence length the folder asks for (sentence_bert_config.json), at most P */
};

struct encoder_embedding {
    const float *word, *position, *type; /* (V, C) (P, C) (types, C) */
    const float *ln_gain, *ln_bias;      /* (C) */
};

/* Opens a folder: config.json, model.safetensors, and where there are 1_Pooling/config.json, modules.json and
 * sentence_bert_config.json (without them: mean pooling, not normalised, as sentence-transformers does).
 *
 *   k   packs the matrices; borrowed until encoder_free (NULL: nothing is packed, every backend takes them as they are)
 *
 * *out is the caller's (encoder_free), NULL on failure.  NOT_FOUND: a file or tensor is missing; INVALID: malformed
 * JSON, sizes that disagree, values that are not finite; UNSUPPORTED: not BERT, naming the key; CORRUPT: a damaged
 * safetensors file; OOM, IO.
 */
enum status encoder_open(struct encoder **out, struct kern *k, const char *dir, struct err *e) MUST_CHECK;
void encoder_free(struct encoder *m); /* NULL is fine */
/* Puts the frozen layers into another precision ("f32": nothing changes; "bf16", "int8"), after a probe set of sentences has
 * shown that its pooled states keep a cosine of at least min_cosine to those in f32, before the last layer and at the
 * end.  Done before anything else uses m; states in different precisions have different fingerprints.  What is learnt starts
 * from the f32 values as before.  UNSUPPORTED: below min_cosine, saying what it is; OOM; errors of encoder_run_new. */
enum status encoder_round(struct encoder *m, const char *precision, double min_cosine, const char *backend,
                          struct err *e) MUST_CHECK;
double encoder_precision_cosine(const struct encoder *m); /* the least that was seen; 1 in f32 */
/* Kernels, folder and precision as the configuration says.  *k is made first and the caller's to free, after *out. */
enum status encoder_open_conf(struct encoder **out, struct kern **k, const struct conf *c, struct err *e) MUST_CHECK;
/* The probe set: 64 short sentences of shops, films and news.  Start with *at = 0; ids of the next one, returns their
 * number, 0 after the last. */
#define ENCODER_PROBES 64
#define ENCODER_PROBE_TOKENS 64
size_t encoder_probe(const struct encoder *m, size_t *at, int32_t ids[ENCODER_PROBE_TOKENS]);
const struct encoder_shape *encoder_shape(const struct encoder *m);
const char *encoder_dir(const struct encoder *m);
const struct kern *encoder_kern(const struct encoder *m); /* that packed the matrices; NULL: none */
/* Hash of the frozen weights (f32 values in a fixed order) and of the shape: equal fingerprints, equal sentence
 * states. */
uint64_t encoder_fingerprint(const struct encoder *m);
/* Layer l in 0 … L-1 (attention.self, attention.output.dense, intermediate.dense, output.dense), in host memory. */
const struct kern_layer *encoder_layer(const struct encoder *m, size_t l);
const struct encoder_embedding *encoder_embedding(const struct encoder *m);
/* The same in the memory of the backend that packed them, for kernels to read; the two above are the host's. */
const struct kern_layer *encoder_placed_layer(const struct encoder *m, size_t l);
const struct encoder_embedding *encoder_placed_embedding(const struct encoder *m);

/* backend: a name for kern_new; INVALID when the encoder was packed by another one, or by none and the backend's memory is
 * not the host's. */
enum status encoder_run_new(struct encoder_run **out, const struct encoder *m, const char *backend,
                            struct err *e) MUST_CHECK;
void encoder_run_free(struct encoder_run *r);
/* Makes room for sentences of n tokens, so that encoder_run_sentence allocates nothing up to that length. */
enum status encoder_run_reserve(struct encoder_run *r, size_t n, struct err *e) MUST_CHECK;

/* One sentence through the network.
 *
 *   ids    (n) token ids, [CLS] and [SEP] included; types (n) token types or NULL: all 0
 *   mid    layer after which states are kept: 0 = after the embeddings' LayerNorm, L = the end
 *   mid_states, final_states  (n, C) each, host memory, or NULL.  Without final_states the layers above mid are not
 *   run.
 *
 * INVALID: n is 0 or above P, an id outside 0 … V-1, a type outside the table, mid above L; OOM while scratch grows.
 * Thread: r's owner.
 */
enum status encoder_run_sentence(struct encoder_run *r, const int32_t *ids, const uint8_t *types, size_t n, size_t mid,
                                 float *mid_states, float *final_states, struct err *e) MUST_CHECK;
/* Several sentences at once, with the same bits as one after the other (up to ENCODER_CHUNK tokens, ENCODER_CHUNK_FAR where the
 * backend's memory is apart, share each pass over the weights, where the backend's rows are alone).  Every sentence is
 * checked before anything is computed. */
#define ENCODER_CHUNK 128                              /* activations stay in the second cache */
#define ENCODER_CHUNK_FAR 16384                        /* enough rows for every multiprocessor */
size_t encoder_run_chunk(const struct encoder_run *r); /* tokens that share a pass, at most: one of these two */
struct encoder_sentence {
    const int32_t *ids;
    const uint8_t *types; /* or NULL */
    size_t n;
    float *mid, *final; /* (n, C) or NULL, as mid_states and final_states above */
    float *mid_mean;    /* (C) or NULL: the mean over the tokens of what mid would hold */
    float *vector; /* (C) or NULL: what encoder_pool would make of final; one behind the other they come in one copy */
};
enum status encoder_run_sentences(struct encoder_run *r, const struct encoder_sentence *s, size_t count, size_t mid,
                                  struct err *e) MUST_CHECK;

/* out (C) = the sentence vector as the folder says: mean or [CLS], unit length when it normalises. n > 0. Thread:
 * any. */
void encoder_pool(const struct encoder *m, const float *final_states, size_t n, float *out);

/* A layer whose learnt weights replace the base's; only the .w pointers and vectors of `weights` are read. */
struct encoder_replaced {
    size_t layer;
    struct kern_layer weights;
};
/* Writes a Hugging Face folder: model.safetensors (F32, every tensor of the base under its own name, replaced layers
 * swapped in), and copies of config.json, tokenizer and pooling files.  dir is made when absent; existing files in it
 * are replaced one by one (each whole).  INVALID: layer out of range, dir is the base's own; IO. */
enum status encoder_write_folder(const struct encoder *m, const char *dir, const struct encoder_replaced *replaced,
                                 size_t n, struct err *e) MUST_CHECK;
#endif
