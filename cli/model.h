/* model.h - what the subcommands of `freshet model` share: named tensors, wherever they lie.
 *
 * A place is a Hugging Face folder, a .safetensors file, a weight file, or a state folder (of which one version's weight file
 * is read).  All of them open into one table of tensors.  Nothing here writes.
 */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CMD_MODEL_PATH 1024
#define CMD_MODEL_FILE_MAX ((size_t)1 << 36) /* bytes of a weight file */

enum cmd_model_kind { CMD_MODEL_FOLDER, CMD_MODEL_SAFETENSORS, CMD_MODEL_WEIGHTS, CMD_MODEL_STATE };
struct cmd_model_tensor {
    const char *name, *type; /* type: "F32" */
    uint8_t rank;
    uint64_t shape[8];
    size_t n;
    const float *values; /* (n); NULL: not floats */
};
struct safetensors;
struct cmd_model {
    enum cmd_model_kind kind;  /* FOLDER: tensors are those of model.safetensors; STATE: of the version's weight file */
    char path[CMD_MODEL_PATH]; /* of the file read */
    struct cmd_model_tensor *tensors;
    size_t n, n_params; /* floats of all tensors */
    uint64_t bytes;     /* of the file */
    int64_t time_ms;    /* of the file's last change */
    /* weight files only */
    uint64_t version, base_fingerprint, n_moments;
    char sha256[HASH_SHA256_HEX]; /* of the parameters; of the whole file for safetensors */
    /* inside */
    struct arena arena;
    struct buf file;
    struct safetensors *st;
};
/* version: of a state folder; 0: the newest.  NOT_FOUND: no such path or version; INVALID: none of the four; others as the
 * readers say.  cmd_model_close either way. */
enum status cmd_model_open(struct cmd_model *out, const char *path, uint64_t version, struct err *e) MUST_CHECK;
void cmd_model_close(struct cmd_model *m);
const struct cmd_model_tensor *cmd_model_find(const struct cmd_model *m, const char *name); /* or NULL */
enum status cmd_model_kind_of(enum cmd_model_kind *out, const char *path, struct err *e) MUST_CHECK;
/* <state folder>/weights/<version> */
enum status cmd_model_weights_path(char out[CMD_MODEL_PATH], const char *state_dir, uint64_t version,
                                   struct err *e) MUST_CHECK;

/* The keys that a state folder follows from (parts, layers, views, features), as they are there, into c.  INVALID, OOM. */
struct conf;
struct checkpoint_meta;
enum status cmd_model_take_meaning(struct conf *c, const struct checkpoint_meta *m, struct err *e) MUST_CHECK;

void cmd_model_shape(char out[96], const struct cmd_model_tensor *t); /* "1152x384" */
double cmd_model_norm(const float *x, size_t n);
/* A number, or null when it is not finite. */
json_t *cmd_model_number(double x);
double cmd_model_figure(const json_t *j, const char *key); /* the number under key; NaN: there is none */
double cmd_model_days(const json_t *report); /* of event time that a run's report spans; 0: no event came */
json_t *cmd_model_shape_json(const struct cmd_model_tensor *t);
json_t *cmd_model_time(int64_t ms); /* RFC 3339 text */
/* Prints and frees j (NULL: out of memory was met while it was made); an exit status. */
int cmd_model_print_json(const char *command, json_t *take_j);
/* Writes j to a file ("-": stdout) and frees it; IO names path and cause, OOM (take_j NULL too). */
enum status cmd_model_write_json(const char *path, json_t *take_j, struct err *e) MUST_CHECK;

/* What the version log of a state folder says of a version, as ", blessed"; "": nothing, or it can't be read. */
void cmd_model_said(char out[40], const char *state_dir, uint64_t version);
struct verdict_log;
const char *cmd_model_said_of(const struct verdict_log *log, uint64_t pinned, uint64_t version); /* NULL: nothing */

/* Orders that lie in a state folder, newest first: {"id","state":"waiting|done|refused","text","time"}. */
json_t *cmd_model_orders(const char *state_dir);

int cmd_model_inspect(int argc, char **argv);
int cmd_model_export(int argc, char **argv);
int cmd_model_versions(int argc, char **argv);
int cmd_model_diff(int argc, char **argv);
int cmd_model_warm(int argc, char **argv);
int cmd_model_rollback(int argc, char **argv);
int cmd_model_promote(int argc, char **argv);
int cmd_model_pin(int argc, char **argv);
int cmd_model_unpin(int argc, char **argv);
#endif
