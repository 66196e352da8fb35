/* library.cu - libraries that are opened at run time alone, so that the plug-in builds and loads without them. */
#include "kernels/cuda/cuda.h"
#include <dlfcn.h>

void *cuda_library(const char *own, const char *versioned, const char *plain)
{
    const char *const names[] = {own, versioned, plain};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && library == NULL; i++)
        if (names[i] != NULL) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}
