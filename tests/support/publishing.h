/* publishing.h - a publisher against a private Redis, with made-up weight files: what several tests of publish_*.c share.
 *
 * Any failure fails the test with its sentence.
 */
#ifndef TESTS_SUPPORT_PUBLISHING_H
#define TESTS_SUPPORT_PUBLISHING_H
#include "serving/publish.h"
#include "tests/support/redis_server.h"

#define PUBLISHING_WAIT_MS 20000

struct publish *publishing_open(const struct redis_server *s, const char *const *options, uint64_t epoch);
/* One chunk a letter, filled with it; the last one is cut to 1000 bytes. */
struct buf publishing_file(const char *fill);
struct publish_version publishing_version(uint64_t version);
void publishing_hand(struct publish *p, uint64_t version, const char *fill); /* does not wait */
void publishing_put(struct publish *p, uint64_t version, const char *fill);  /* waits until it is in force */
void publishing_user(struct publish *p, const char *id, const char *record); /* one batch; does not wait */
void publishing_metrics(struct publish *p, double events_total);
/* Waits until the answer to a command is that text. */
void publishing_wait(const struct redis_server *s, const char *command, const char *answer);
/* Every key that the version in force names is there, and the manifest reads; returns the version, 0: none in force. */
uint64_t publishing_check(const struct redis_server *s, const char *fill);
#endif
