/* check_memory.c - what a learner's memory can come to by the configuration, against what the machine has. */
#include "cli/check.h"
#include "job/job_bound.h"
#include "job/job_room.h"
#include "model/encoder_config.h"

void cmd_check_memory(struct cmd_check *c)
{
    struct encoder_shape shape;
    struct job_bound bound;
    struct buf b = {0};
    const bool encodes = conf_reads_text(c->conf);
    if (encodes && encoder_config_read(&shape, c->conf->model_base, NULL) != STATUS_OK) {
        cmd_check_row(c, CMD_CHECK_SKIP, "memory", NULL, "not known without the model folder");
        return;
    }
    job_bound(&bound, c->conf, encodes ? &shape : NULL);
    job_bound_text(&bound, &b);
    const struct job_room room = job_room("", 0);
    cmd_check_row(c, CMD_CHECK_OK, "memory", NULL, "a learner takes at most this; %s %zu MiB", room.what,
                  room.bytes >> 20);
    cmd_check_more(c, "%.*s", (int)b.n, (const char *)b.p);
    if (room.bytes > 0 && bound.total > room.bytes)
        cmd_check_more(c, "-> more than there is, should all bounds be reached: lower history.max_bytes, "
                          "catalogue.max_bytes or join.max_bytes");
    buf_fini(&b);
}
