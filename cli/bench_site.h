/* bench_site.h - a whole site beside the benchmark: Redis on a Unix socket, a shop's log learnt and published by `freshet
 * replay`, scorers by `freshet serve`.
 *
 * Made once, when the first case asks for it, and kept until the benchmark ends.  A case that wants it is left out, with the
 * reason, where redis-server is not installed.
 */
#ifndef CLI_BENCH_SITE_H
#define CLI_BENCH_SITE_H
#include "cli/bench.h"
#include "cli/process.h"

#define CMD_BENCH_SITE_ITEMS 3000
#define CMD_BENCH_SITE_USERS 40
#define CMD_BENCH_SITE_PATH 640

struct cmd_bench_scorer {
    struct cmd_process process;
    int port;
};
struct cmd_bench_site {
    char dir[CMD_BENCH_PATH + 8], conf[CMD_BENCH_SITE_PATH], url[CMD_BENCH_SITE_PATH]; /* conf: path; url: of Redis */
    struct cmd_process redis, learner;
    struct cmd_bench_scorer scorer, other;     /* the usual one; one of a case's own */
    uint32_t behaviours[CMD_BENCH_SITE_USERS]; /* of each user in the log */
    struct buf log;
    struct cmd_bench_live *live; /* bench_live.c: what was measured, once for all its cases */
    bool checked;                /* its scores were compared */
    size_t asked;                /* requests that were made once only */
    struct err failure;          /* why there is none */
    enum status status;
};
/* b->site with its usual scorer ready.  UNSUPPORTED: no redis-server, or built without Redis or HTTP. */
enum status cmd_bench_site(struct cmd_bench *b, struct cmd_bench_site **out, struct err *e) MUST_CHECK;
/* A scorer with options of its own ("section.key=value", NULL ends); ready when it answers: a version is in force. */
enum status cmd_bench_serve_start(struct cmd_bench_site *s, struct cmd_bench_scorer *out, const char *name,
                                  const char *const *options, struct err *e) MUST_CHECK;
enum status cmd_bench_serve_ready(struct cmd_bench_scorer *x, struct err *e) MUST_CHECK;
enum status cmd_bench_serve(struct cmd_bench_site *s, struct cmd_bench_scorer *out, const char *name,
                            const char *const *options, struct err *e) MUST_CHECK; /* both */
void cmd_bench_site_free(struct cmd_bench_site *s);                                /* NULL is fine */
struct redis;
enum status cmd_bench_site_redis(const struct cmd_bench_site *s, struct redis **out, struct err *e) MUST_CHECK;
double cmd_bench_site_events(const struct cmd_bench *b, uint32_t user); /* that the encoder parts read of a user */
#endif
