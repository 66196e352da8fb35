/* bad_messages.h - the tables of tests/fixtures/bad: messages of all kinds, each with what must become of it.
 *
 * A line is  outcome <tab> name <tab> message [<tab> cleaned];  in texts %hh is a byte, %v the beginning of a view and
 * %(N*TEXT%) N times TEXT.  A table that can't be read fails the test.
 */
#ifndef TESTS_SUPPORT_BAD_MESSAGES_H
#define TESTS_SUPPORT_BAD_MESSAGES_H
#include "base/buf.h"

struct bad_message {
    char outcome[40], name[80]; /* a reject's code, or "ok" */
    struct buf message, cleaned;
};
/* Calls fn with every message of tests/fixtures/bad/<table>.tsv, in order; returns how many there were. */
size_t bad_messages_each(const char *table, void (*fn)(void *user, const struct bad_message *m), void *user);
#endif
