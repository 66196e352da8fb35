/* model_orders.c - orders that went through a state folder: those that still wait there, and what came of those that nobody waited
 * for (job/job_command.c leaves an answer beside them; a command that waits for one takes it away). */
#include "cli/model.h"
#include "schemas/command.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t read_small(int dir, const char *name, char out[COMMAND_BYTES_MAX + 1], int64_t *time_ns)
{
    struct stat info;
    const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const ssize_t n = fd >= 0 && fstat(fd, &info) == 0 ? read(fd, out, COMMAND_BYTES_MAX + 1) : -1;
    if (fd >= 0) (void)close(fd);
    if (n <= 0) return 0;
    *time_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return (size_t)n;
}

static json_t *answer_json(struct str text)
{
    struct command_answer a;
    if (command_answer_decode(&a, text, NULL) != STATUS_OK) return NULL;
    return json_pack("{s:s, s:s, s:s}", "id", a.id, "state", a.ok ? "done" : "refused", "text", a.text);
}

static json_t *waiting_json(struct str text)
{
    struct command c;
    char what[COMMAND_NAME + 40] = "", said[COMMAND_NAME + COMMAND_WHO + COMMAND_REASON + 80];
    if (command_decode(&c, text, NULL) != STATUS_OK) return NULL;
    if (c.version > 0) (void)snprintf(what, sizeof what, " %llu", (unsigned long long)c.version);
    if (c.name[0] != '\0') (void)snprintf(what, sizeof what, " %s", c.name);
    (void)snprintf(said, sizeof said, "%s%s, by %s: %s", command_kind_name(c.kind), what, c.who, c.reason);
    return json_pack("{s:s, s:s, s:s}", "id", c.id, "state", "waiting", "text", said);
}

static bool is_newer(const json_t *a, const json_t *b)
{
    return json_integer_value(json_object_get(a, "time_ns")) > json_integer_value(json_object_get(b, "time_ns"));
}

static void insert(json_t *list, json_t *take_j)
{
    size_t at = 0;
    while (at < json_array_size(list) && !is_newer(take_j, json_array_get(list, at))) at++;
    (void)json_array_insert_new(list, at, take_j);
}

json_t *cmd_model_orders(const char *state_dir)
{
    char path[CMD_MODEL_PATH], text[COMMAND_BYTES_MAX + 1];
    json_t *list = json_array(), *j;
    size_t i;
    (void)snprintf(path, sizeof path, "%s/commands", state_dir);
    DIR *d = opendir(path);
    for (struct dirent *f = d != NULL ? readdir(d) : NULL; f != NULL; f = readdir(d)) {
        int64_t time_ns = 0;
        const struct str all = {text, f->d_name[0] != '.' ? read_small(dirfd(d), f->d_name, text, &time_ns) : 0};
        j = all.n == 0 ? NULL : strstr(f->d_name, COMMAND_ANSWER) != NULL ? answer_json(all) : waiting_json(all);
        if (j == NULL) continue; /* no order: the learner tells of it */
        (void)json_object_set_new(j, "time_ns", json_integer((json_int_t)time_ns));
        insert(list, j);
    }
    if (d != NULL) (void)closedir(d);
    json_array_foreach(list, i, j)
    {
        const json_int_t time_ns = json_integer_value(json_object_get(j, "time_ns"));
        (void)json_object_set_new(j, "time", cmd_model_time(time_ns / 1000000));
        (void)json_object_del(j, "time_ns");
    }
    return list;
}
