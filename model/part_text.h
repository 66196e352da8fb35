/* part_text.h - inside the text part: its tensors and what its two files share (part_text.c: pooled and tokens, the
 * trainable stack; part_text_concat.c: user and item in one sequence; part_text_users.c: each user's own head).  Nobody else includes it.
 */
#ifndef MODEL_PART_TEXT_H
#define MODEL_PART_TEXT_H
#include "model/part.h"

enum text_view { TEXT_POOLED, TEXT_TOKENS, TEXT_CONCAT };
/* clang-format off */
enum text_tensor {
    TEXT_QKV, TEXT_QKV_BIAS, TEXT_O, TEXT_O_BIAS, TEXT_UP, TEXT_UP_BIAS, TEXT_DOWN, TEXT_DOWN_BIAS,
    TEXT_LN1_GAIN, TEXT_LN1_BIAS, TEXT_LN2_GAIN, TEXT_LN2_BIAS, TEXT_TENSORS
};
/* clang-format on */
struct text {
    struct part base;
    const struct encoder *enc;
    struct encoder_shape shape;
    enum text_view view;
    size_t n_layers, first; /* K trainable layers, the first of them is layer `first` of the encoder (from 0) */
    size_t max_events;
    size_t concat_tokens;
    float dropout;
    char backend[KERN_NAME_MAX];
    size_t user, rank, age, type, role, head; /* tensors: (1,C) (events,C) (16,C) (32,C) (1,C) (1,C) */
    size_t (*layers)[TEXT_TENSORS];           /* K rows of tensor indices */
    size_t units, user_rows, user_map, user_gain; /* U, 0: users have no head of their own; (rows,U) (U,C) (1,U) */
    uint32_t user_mask;
};
struct text_layer {
    struct part_matrix q, kv, o, up, down;
    struct tape_value ln1_gain, ln1_bias, ln2_gain, ln2_bias;
};
struct text_run {
    struct part_run base;
    struct kern *kern;
    struct encoder_run *enc;    /* concat only: the frozen layers of whole sequences */
    struct text_layer *layers;  /* K */
    struct tape_value *user_kv; /* K: keys and values of the users' rows, of the slates prepared */
    const int32_t *user_off;    /* slate i's rows of them: user_off[i] … user_off[i+1] (tape's host memory) */
    struct tape_value user, rank, age, type, role;
    struct op_matrix head, user_map, user_gain;
    const float *user_w;          /* backend */
    struct part_rows *user_grads; /* NULL: nothing is learnt */
    struct rand random; /* dropout of the slate prepared */
};
/* Token rows of the candidates of some slates, as segments: candidate i has rows off[i]..off[i+1] of x (N,C). */
struct text_rows {
    struct tape_value x;
    int32_t *off; /* n+1, host */
    size_t n;
};
/* z (n,1) += what each list's user adds, of the rows h (n,C) that the head read. */
enum status part_text_users_declare(struct text *p, const struct conf *c, struct param_table *t,
                                    struct err *e) MUST_CHECK;
void part_text_users_init(const struct text *p, const struct param_table *t, uint64_t seed, float *w);
void part_text_users_bind(struct text_run *r, const struct part_params *pp);
enum status part_text_users_add(struct text_run *r, const struct part_list *lists, size_t n, struct tape_value h,
                                struct tape_value *z, struct err *e) MUST_CHECK;
/* Tokens of candidate `item`'s sequence. */
size_t part_text_concat_length(const struct text *p, const struct part_slate *s, uint32_t item);
/* States after the frozen layers of [CLS] newest event [SEP] … oldest [SEP] item [SEP], token types 0 and 1. */
enum status part_text_concat_rows(struct text_run *r, const struct part_list *list, struct text_rows *out,
                                  struct err *e) MUST_CHECK;
#endif
