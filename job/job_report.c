/* job_report.c - the figures of a run at its end: the report. */
#include "base/log.h"
#include "job/job_file.h"
#include "job/job_parts.h"
#include "job/job_private.h"
#include "schemas/report_html.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

double job_rss_bytes(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (double)u.ru_maxrss * 1024.0 : NAN;
}

static void fill_report(struct job *j, struct report *r)
{
    learner_report(j->learner, r);
    r->from_ms = learner_first_ms(j->learner);
    r->to_ms = learner_watermark(j->learner);
    r->hashed = learner_hashed(j->learner);
    r->seconds = (double)(job_now_us(j) - j->started_us) * 1e-6;
    r->examples_per_second = r->seconds > 0.0 ? (double)(r->examples - j->examples_before) / r->seconds : 0.0;
    r->score_core_s = learner_line(j->learner)->score_core_s;
    r->learn_core_s = learner_line(j->learner)->learn_core_s;
    r->learn_s = learner_line(j->learner)->learn_s;
    r->peak_rss_bytes = job_rss_bytes();
    r->version = checkpoint_version(j->checkpoint);
    (void)snprintf(r->sha256, sizeof r->sha256, "%s", checkpoint_sha256(j->checkpoint));
    (void)snprintf(r->backend, sizeof r->backend, "%s",
                   j->kern != NULL ? kern_describe(j->kern) : j->conf->kernels_backend);
}

/* Tried at the start, so that a long run does not end in a path that can't be written. */
enum status job_check_report(const struct job *j, struct err *e)
{
    TRY(job_file_check(j->options->report_path, e));
    return job_file_check(j->options->html_path, e);
}

/* The name of a topic by its index in "a, b,c", into room. */
static const char *topic_name(char *room, size_t size, const char *list, uint32_t index)
{
    const struct str name = str_word_at(list, index);
    (void)snprintf(room, size, STR_FMT, STR_ARG(name));
    return name.n > 0 ? room : "?";
}

/* NULL: no memory. */
static struct report_partition *list_partitions(struct job *j, struct arena *a, struct report *r)
{
    const struct source_offset *from = learner_file(j->learner);
    size_t n = 1;
    const size_t room = strlen(j->conf->ingest_topics) + 1;
    if (!j->options->replay) from = learner_offsets(j->learner, &n);
    struct report_partition *p = arena_alloc(a, n, sizeof *p);
    for (size_t i = 0; p != NULL && i < n; i++) {
        char *names = arena_alloc(a, room, 1);
        if (names == NULL) return NULL;
        p[i] = (struct report_partition){
            .partition = from[i].partition,
            .next = from[i].next,
            .records = from[i].records,
            .chain = from[i].chain,
            .topic = j->options->replay ? "" : topic_name(names, room, j->conf->ingest_topics, from[i].topic)};
    }
    r->partitions = p;
    r->n_partitions = n;
    return p;
}

static enum status write_json(struct job *j, const struct report *r, struct err *e)
{
    struct buf b = {0};
    if (j->options->report_path == NULL) return STATUS_OK;
    report_write_json(&b, r);
    const enum status st = job_file_write(j->options->report_path, &b, e);
    buf_fini(&b);
    return st;
}

static enum status write_html(struct job *j, const struct report *r, struct err *e)
{
    struct buf b = {0}, title = {0};
    if (j->options->html_path == NULL) return STATUS_OK;
    buf_printf(&title, "%s: %s", j->options->replay ? "replay" : "run", j->conf->model_name);
    for (size_t i = 0; i < j->options->n_paths; i++) {
        const char *name = strrchr(j->options->paths[i], '/');
        buf_printf(&title, ", %s", name != NULL ? name + 1 : j->options->paths[i]);
    }
    buf_u8(&title, '\0');
    enum status st = buf_status(&title, e);
    if (st == STATUS_OK) {
        report_write_html(&b, r, (const char *)title.p, j->clock->wall_ms(j->clock));
        st = job_file_write(j->options->html_path, &b, e);
    }
    buf_fini(&title);
    buf_fini(&b);
    return st;
}

enum status job_write_report(struct job *j, struct err *e)
{
    struct report r;
    struct arena a = {0};
    enum status st;
    fill_report(j, &r);
    struct report_detail *detail = arena_alloc(&a, 1, sizeof *detail);
    if (detail == NULL || list_partitions(j, &a, &r) == NULL) {
        st = ERR_SET(e, STATUS_OOM, "report: no memory for it");
        goto out;
    }
    learner_report_detail(j->learner, detail);
    r.detail = detail;
    progress_summary(&j->progress, &r);
    job_warn_parts(j->conf, &r);
    TRY_OUT(st, write_json(j, &r, e));
    st = write_html(j, &r, e);
out:
    arena_fini(&a);
    return st;
}
