/* redis_server.h - a private redis-server on a Unix socket in a temporary folder, started and stopped by its pid.
 *
 * Keeps nothing on disk and listens on no port.  It dies with the test.  Where no redis-server is installed the test is
 * skipped (exit 77) with a line that says so.
 */
#ifndef TESTS_SUPPORT_REDIS_SERVER_H
#define TESTS_SUPPORT_REDIS_SERVER_H
#include "schemas/conf.h"
#include "serving/redis.h"
#include "tests/support/tmpdir.h"
#include <sys/types.h>

struct redis_server {
    struct tmpdir dir;
    char socket[300], url[310];
    pid_t pid; /* 0: not running */
};
void redis_server_start(struct redis_server *s); /* zeroed s, or one that was killed: the same socket again */
void redis_server_kill(struct redis_server *s);  /* SIGKILL; all data is gone */
void redis_server_signal(struct redis_server *s, int signal); /* SIGSTOP, SIGCONT */
void redis_server_stop(struct redis_server *s);               /* ends it and removes the folder */
struct conf *redis_server_conf(const struct redis_server *s); /* defaults with redis.url set; conf_free */
/* One command of up to 8 words, blank-separated; the reply as text ("" for nil, digits for integers, the length of an
 * array as digits). */
const char *redis_server_ask(const struct redis_server *s, char out[4096], const char *command);
#endif
