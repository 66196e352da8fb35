/* kern_old.c - a plug-in of another build: its table is larger by a pointer than this program's. */
#include "kernels/kern_backend.h"
#include "kernels/kern_plugin.h"

__attribute__((visibility("default"))) const struct kern_plugin *freshet_kern_plugin(void);
const struct kern_plugin *freshet_kern_plugin(void)
{
    static const struct kern_plugin self = {KERN_PLUGIN_ABI, sizeof(struct kern_ops) + sizeof(void *), KERN_PLUGIN_ARGS,
                                            &kern_ref_ops};
    return &self;
}
