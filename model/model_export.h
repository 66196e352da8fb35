/* model_export.h - what is learnt, as a Hugging Face folder that other tools open.
 *
 * The base's folder with the learnt layers in place of the pretrained ones (encoder_write_folder), and beside it
 * freshet.safetensors: every other tensor of the parameter table under its own name, F32.  Nothing of the optimiser.
 */
#ifndef MODEL_MODEL_EXPORT_H
#define MODEL_MODEL_EXPORT_H
#include "model/model.h"

#define MODEL_EXPORT_FILE "freshet.safetensors"

/* enc: the base that m was made with (or, for a model without encoder, any: its layers are written as they are).  p: values
 * of m's table.  n_layers (may be NULL): encoder layers replaced.  INVALID: dir is the base's own folder; IO, OOM. */
enum status model_export_folder(const struct model *m, const struct encoder *enc, const struct param_set *p,
                                const char *dir, size_t *n_layers, struct err *e) MUST_CHECK;
#endif
