/* score_infer.h - the Open Inference Protocol v2 form of a re-rank: BYTES tensors `user` and `items` in, FP32 `scores` out.
 *
 *   {"id":"…"?, "inputs":[{"name":"user","shape":[1],"datatype":"BYTES","data":["u1"]},
 *                         {"name":"items","shape":[2],"datatype":"BYTES","data":["a","b"]}]}
 *
 * shape may have a leading 1 (a batch of one), data may be nested as the shape says.  `user` may be left out.  Scores come
 * in input order; beyond serving.joint_top they are those of candidates that the text part has not seen, with its mean: a re-rank
 * has these below the others whatever their scores.
 */
#ifndef SERVING_SCORE_INFER_H
#define SERVING_SCORE_INFER_H
#include "serving/score.h"

enum status score_infer_parse(struct score_request *q, struct str body, const struct conf *c, struct err *e) MUST_CHECK;
void score_infer_write(const struct score_request *q, const struct score_answer *a, const char *model, struct buf *b);
void score_infer_metadata(const char *model, const struct slot_version *v, struct buf *b); /* v NULL: no version yet */
#endif
