/* kern_plugin.h - the contract between the program and a backend that it loads at run time.
 *
 * A plug-in is a shared library with one symbol, KERN_PLUGIN_ENTRY, of type kern_plugin_entry.  It says which version of
 * this contract it was built for and how large the structs are that both sides share; a plug-in of another build is
 * refused before anything of it is called.  No type of CUDA crosses this line: the table is struct kern_ops (kern.h).
 * The plug-in allocates with its own allocator and writes its errors into struct err by itself; it links nothing of
 * the program.  Thread: any.
 */
#ifndef KERNELS_KERN_PLUGIN_H
#define KERNELS_KERN_PLUGIN_H
#include "kernels/kern.h"

#define KERN_PLUGIN_ABI 6u
#define KERN_PLUGIN_ENTRY "freshet_kern_plugin"
#define KERN_PLUGIN_FILE "freshet_cuda.so"
#define KERN_PLUGIN_ENV "FRESHET_KERNELS_PLUGIN" /* as the configuration key kernels.plugin */

/* What a plug-in's open reads; the loader puts it where k->state points before the call, and it stays valid through it. */
struct kern_plugin_settings {
    int device;       /* ordinal of the device */
    size_t memory_mb; /* of the device for all of this process; 0: most of what is free */
    size_t kept_mb;   /* of these, for rows that are kept (kern_kept), a struct kern; 0: none */
    bool tf32;        /* products of f32 operands may round them to TF32 */
    bool cudnn;       /* cuDNN may be used where it is */
    char plans[320];  /* folder for compiled plans; "": none are kept */
};

struct kern_plugin {
    uint32_t abi;        /* KERN_PLUGIN_ABI */
    uint32_t ops_bytes;  /* sizeof(struct kern_ops) */
    uint32_t args_bytes; /* KERN_PLUGIN_ARGS */
    const struct kern_ops *ops;
};
/* Sizes of the structs that operations take, as one number. */
#define KERN_PLUGIN_ARGS                                                                                               \
    ((uint32_t)(sizeof(struct kern_matrix) + 128 * sizeof(struct kern_segments) + 16384 * sizeof(struct kern_adamw) +  \
                2097152 * sizeof(struct kern_match) + 7 * sizeof(struct kern_layer) + 31 * sizeof(struct kern_stack)))
/* Never NULL; static memory of the plug-in. */
typedef const struct kern_plugin *kern_plugin_entry(void);

/* *out = the table of the plug-in at `path`, or where path is empty of the first KERN_PLUGIN_FILE found in the folder of the
 * program, in ../lib/freshet beside it, or where the dynamic linker looks.  Loaded once and kept.  UNSUPPORTED, naming what
 * was tried and the next step: none is there, it cannot be loaded, or it is of another build. */
enum status kern_plugin_load(const struct kern_ops **out, const char *path, struct err *e) MUST_CHECK;
/* Reads "device=0,memory=0,kept=0,tf32=0,cudnn=1,fallback=none,plans=DIR,plugin=PATH" (any of them, plugin last; NULL: none): path
 * (bytes) and *to_cpu beside the settings.  INVALID: another word. */
enum status kern_plugin_parse(struct kern_plugin_settings *s, char *path, size_t bytes, bool *to_cpu, const char *text,
                              struct err *e) MUST_CHECK;
#endif
