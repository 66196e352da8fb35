/* kern_plugin.c - see kern_plugin.h.  A loaded plug-in stays: its code may be in use by any thread until the end. */
#include "kernels/kern_plugin.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 1024

/* The folder of the running program with its last '/', or "". */
static void program_folder(char out[PATH_BYTES])
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_BYTES - 1);
    out[n > 0 ? n : 0] = 0;
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        slash[1] = 0;
    else
        out[0] = 0;
}

/* The first of the places where the file is there; the bare name, which the dynamic linker looks up, if none is. */
static void find_file(char out[2 * PATH_BYTES])
{
    static const char *const beside[] = {"", "../lib/freshet/"};
    char folder[PATH_BYTES];
    program_folder(folder);
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        (void)snprintf(out, 2 * PATH_BYTES, "%s%s" KERN_PLUGIN_FILE, folder, beside[i]);
        if (access(out, R_OK) == 0) return;
    }
    (void)snprintf(out, 2 * PATH_BYTES, KERN_PLUGIN_FILE);
}

static enum status open_file(void **out, const char *path, struct err *e)
{
    char found[2 * PATH_BYTES];
    if (path[0] == 0) find_file(found);
    *out = dlopen(path[0] != 0 ? path : found, RTLD_NOW | RTLD_LOCAL);
    if (*out != NULL) return STATUS_OK;
    const char *why = dlerror();
    if (path[0] == 0 && found[0] != '/')
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "kernels: " KERN_PLUGIN_FILE " is neither beside the program nor in ../lib/freshet nor in the "
                       "linker's path; build it with cmake --preset cuda, name it in kernels.plugin, or set "
                       "kernels.backend=cpu");
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "kernels: the plug-in cannot be loaded: %s; set kernels.backend=cpu to do without",
                   why != NULL ? why : path);
}

static enum status check(const struct kern_plugin *p, struct err *e)
{
    if (p->abi != KERN_PLUGIN_ABI || p->ops_bytes != sizeof(struct kern_ops) || p->args_bytes != KERN_PLUGIN_ARGS)
        return ERR_SET(
            e, STATUS_UNSUPPORTED,
            "kernels: the plug-in is of another build (version %u, table of %u bytes; this program has %u and "
            "%zu): build both from the same source",
            p->abi, p->ops_bytes, KERN_PLUGIN_ABI, sizeof(struct kern_ops));
    return STATUS_OK;
}

enum status kern_plugin_load(const struct kern_ops **out, const char *path, struct err *e)
{
    void *library = NULL;
    *out = NULL;
    if (path[0] == 0 && getenv(KERN_PLUGIN_ENV) != NULL) path = getenv(KERN_PLUGIN_ENV);
    TRY(open_file(&library, path, e));
    kern_plugin_entry *entry;
    *(void **)&entry = dlsym(library, KERN_PLUGIN_ENTRY);
    if (entry == NULL)
        return ERR_SET(e, STATUS_UNSUPPORTED, "kernels: %s is no plug-in of freshet: it has no %s",
                       path[0] != 0 ? path : KERN_PLUGIN_FILE, KERN_PLUGIN_ENTRY);
    const struct kern_plugin *p = entry();
    TRY(check(p, e));
    *out = p->ops;
    return STATUS_OK;
}

/* The value of key at *at, which moves on behind it; false: another word stands there. */
static bool take(const char **at, const char *key, char *value, size_t bytes)
{
    const size_t n = strlen(key);
    if (strncmp(*at, key, n) != 0 || (*at)[n] != '=') return false;
    const char *from = *at + n + 1;
    const size_t length = strcmp(key, "plugin") == 0 ? strlen(from) : strcspn(from, ",");
    (void)snprintf(value, bytes, "%.*s", (int)length, from);
    *at = from + length + (from[length] == ',');
    return true;
}

enum status kern_plugin_parse(struct kern_plugin_settings *s, char *path, size_t bytes, bool *to_cpu, const char *text,
                              struct err *e)
{
    char word[32];
    *s = (struct kern_plugin_settings){.cudnn = true};
    path[0] = 0;
    *to_cpu = false;
    for (const char *at = text; at != NULL && *at != 0;) {
        if (take(&at, "device", word, sizeof word))
            s->device = (int)strtol(word, NULL, 10);
        else if (take(&at, "memory", word, sizeof word))
            s->memory_mb = strtoul(word, NULL, 10);
        else if (take(&at, "kept", word, sizeof word))
            s->kept_mb = strtoul(word, NULL, 10);
        else if (take(&at, "tf32", word, sizeof word))
            s->tf32 = word[0] == '1';
        else if (take(&at, "cudnn", word, sizeof word))
            s->cudnn = word[0] == '1';
        else if (take(&at, "fallback", word, sizeof word))
            *to_cpu = strcmp(word, "cpu") == 0;
        else if (take(&at, "plans", s->plans, sizeof s->plans))
            continue;
        else if (!take(&at, "plugin", path, bytes))
            return ERR_SET(e, STATUS_INVALID, "kernels: backend cuda has no setting '%s'", at);
    }
    return STATUS_OK;
}
