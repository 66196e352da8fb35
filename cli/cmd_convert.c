/* cmd_convert.c - `freshet convert`: logs of any preset as native JSON lines on stdout, or into a Kafka topic.
 *
 * What is refused or skipped is counted on stderr, with the first message of each kind; --dead-letters keeps the bytes.
 */
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "ingest/source.h"
#include "ingest/source_kafka_producer.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char about[] = "Reads logs (.jsonl or .csv; plain, .gz, .xz or .zst; - is standard input; several are "
                            "merged by time) and writes the\n"
                            "events as native JSON lines to stdout, or with --topic as messages to Kafka, keyed by "
                            "user. What can't be an event is\n"
                            "counted on stderr and left out.\n";
static const char *const keys[] = {"ingest.schema",       "ingest.map", "ingest.max_bytes",
                                   "ingest.dead_letters", "kafka.",     NULL};

#define OUT_BYTES 262144
#define FLUSH_MS 60000
#define WAIT_MS 1000

struct convert {
    const char *topic;
    struct source *source;
    struct source_batch *batch;
    struct source_producer *producer;
    struct reject_sink *sink;
    struct reject_tally tally;
    char first[REJECT_COUNT][sizeof((struct reject *)0)->text];
    uint64_t events, records;
    struct buf out;
    bool gone; /* stdout's reader stopped reading: no fault */
};
static volatile sig_atomic_t stopping;

static void stop(void)
{
    stopping = 1;
}

static enum status write_out(struct convert *c, struct err *e)
{
    TRY(buf_status(&c->out, e));
    if (c->out.n > 0 && (fwrite(c->out.p, 1, c->out.n, stdout) != c->out.n || fflush(stdout) != 0)) {
        c->gone = errno == EPIPE;
        if (!c->gone) return ERR_SET(e, STATUS_IO, "stdout: %s", strerror(errno));
    }
    buf_clear(&c->out);
    return STATUS_OK;
}

static enum status put_event(struct convert *c, const struct event *ev, struct err *e)
{
    c->events++;
    event_write_json(&c->out, ev);
    if (c->producer == NULL) {
        buf_u8(&c->out, '\n');
        return c->out.n >= OUT_BYTES ? write_out(c, e) : STATUS_OK;
    }
    TRY(buf_status(&c->out, e));
    TRY(source_producer_send(c->producer, ev->user, (struct str){(const char *)c->out.p, c->out.n}, NULL, 0, e));
    buf_clear(&c->out);
    return STATUS_OK;
}

static enum status put_record(struct convert *c, const struct source_record *rec, struct err *e)
{
    const struct reject *r = &rec->reject;
    c->records++;
    if (rec->kind == SOURCE_EVENT) return put_event(c, &rec->event, e);
    if (rec->kind == SOURCE_REJECT && c->tally.by_code[r->code] == 0)
        (void)snprintf(c->first[r->code], sizeof c->first[0], "%s", r->text);
    reject_tally_add(&c->tally, r);
    return rec->kind == SOURCE_REJECT ? reject_sink_write(c->sink, rec, "parse", e) : STATUS_OK;
}

static enum status convert_all(struct convert *c, struct err *e)
{
    enum status st = STATUS_OK;
    while (!stopping && !c->gone && (st == STATUS_OK || st == STATUS_AGAIN)) {
        st = source_next(c->source, c->batch, WAIT_MS, e);
        for (uint32_t i = 0; st == STATUS_OK && i < c->batch->n; i++) TRY(put_record(c, &c->batch->records[i], e));
    }
    const bool stopped = st == STATUS_OK || st == STATUS_AGAIN, whole = stopped || st == STATUS_END;
    TRY(c->producer != NULL ? source_producer_flush(c->producer, FLUSH_MS, whole ? e : NULL)
                            : write_out(c, whole ? e : NULL));
    uint64_t length;
    TRY(reject_sink_sync(c->sink, &length, whole ? e : NULL));
    if (stopped && !c->gone)
        return ERR_SET(e, STATUS_END, "stopped by a signal before the end; what is written is whole lines");
    return whole ? STATUS_OK : st;
}

static void summarise(const struct convert *c)
{
    (void)fprintf(stderr, "%llu records, %llu events, %llu rejected\n", (unsigned long long)c->records,
                  (unsigned long long)c->events, (unsigned long long)reject_tally_total(&c->tally));
    for (unsigned i = 1; i < REJECT_COUNT; i++)
        if (c->tally.by_code[i] > 0)
            (void)fprintf(stderr, "  %-20s %10llu  first: %s\n", reject_name((enum reject_code)i),
                          (unsigned long long)c->tally.by_code[i], c->first[i]);
    for (uint32_t i = 0; i < c->tally.n_skipped; i++)
        (void)fprintf(stderr, "  skipped: %-11s %10llu\n", c->tally.skipped[i].name,
                      (unsigned long long)c->tally.skipped[i].n);
}

static enum status run(struct convert *c, const struct cmd_line *l, struct err *e)
{
    enum status st = STATUS_OK;
    TRY_OUT(st, source_open_files(&c->source, l->conf, l->args, l->n_args, NULL, e));
    TRY_OUT(st, source_batch_new(&c->batch, e));
    TRY_OUT(st, reject_sink_open(&c->sink, l->conf, 0, e));
    if (c->topic != NULL) TRY_OUT(st, source_producer_open(&c->producer, l->conf, c->topic, e));
    st = convert_all(c, e);
    summarise(c);
out:
    reject_sink_close(c->sink);
    source_producer_close(c->producer);
    source_batch_free(c->batch);
    source_close(c->source);
    buf_fini(&c->out);
    return st;
}

int cmd_convert(int argc, char **argv)
{
    struct convert *c = mem_calloc(1, sizeof *c);
    struct err e = {.text = "out of memory"};
    struct cmd_line line;
    if (c == NULL) return cmd_failed("convert", &e);
    const struct cmd_option options[] = {
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the logs: native, metarank or csv"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map of a csv log (deploy/maps has examples)"},
        {"topic", "NAME", CMD_TEXT, &c->topic, NULL,
         "write to this Kafka topic, not to stdout (-o kafka.bootstrap.servers=...)"},
        {"dead-letters", "FILE", CMD_KEY, NULL, "ingest.dead_letters",
         "keep what is rejected in this file (topic:NAME: in a topic)"},
    };
    const struct cmd_usage usage = {.command = "convert",
                                    .arguments = "LOG...",
                                    .about = about,
                                    .options = options,
                                    .n_options = 4,
                                    .keys = keys,
                                    .least = 1,
                                    .most = -1};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        cmd_stop_on_signals(stop);
        rc = run(c, &line, &e) == STATUS_OK ? 0 : cmd_failed("convert", &e);
    }
    cmd_line_fini(&line);
    mem_free(c);
    return rc;
}
