/* command.h - an order to the learner: go back, bless, pin; and its answer.  JSON, through Redis or a file in the state folder.
 *
 * Who orders writes {"id","kind","version","name","who","reason","wall_ms"}; the learner does it between two records, makes it
 * durable, publishes, and answers {"id","ok","version","text"}.  An order is done once, however often it is read: its id is part of
 * the state.  Everything from outside is bounded and checked.
 */
#ifndef SCHEMAS_COMMAND_H
#define SCHEMAS_COMMAND_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define COMMAND_BYTES_MAX 4096 /* of one order or answer */
#define COMMAND_ID 33          /* hex digits and NUL */
#define COMMAND_WHO 160
#define COMMAND_REASON 200
#define COMMAND_NAME 64
#define COMMAND_TEXT 400
#define COMMAND_VERSION_MAX INT64_MAX /* JSON's integers have a sign */
/* Behind the id, of files in a state folder: an order that is being followed; what came of one. */
#define COMMAND_TAKEN ".taken"
#define COMMAND_ANSWER ".answer"

enum command_kind { COMMAND_ROLLBACK, COMMAND_PROMOTE, COMMAND_PIN, COMMAND_UNPIN, COMMAND_KINDS };
struct command {
    char id[COMMAND_ID];
    enum command_kind kind;
    uint64_t version;        /* at most COMMAND_VERSION_MAX; 0: not said */
    char name[COMMAND_NAME]; /* of a variant; "": not said */
    char who[COMMAND_WHO], reason[COMMAND_REASON];
    int64_t wall_ms; /* when it was given, by the giver's clock */
};
struct command_answer {
    char id[COMMAND_ID];
    bool ok;
    uint64_t version; /* in force, or about to be; 0: none */
    char text[COMMAND_TEXT];
};
const char *command_kind_name(enum command_kind k); /* "rollback" */
/* A new id (random), who (user@host pid) and wall_ms are filled in.  IO: no random numbers. */
enum status command_new(struct command *c, enum command_kind kind, struct err *e) MUST_CHECK;
/* Text of an order or answer, of the field so named, into out: UTF-8 of at most size - 1 bytes without control characters.  It is
 * the rule of who gives an order and of who reads it.  CORRUPT names the field and the rule. */
enum status command_text(char *out, size_t size, const char *field, struct str text, struct err *e) MUST_CHECK;
void command_encode(struct buf *b, const struct command *c);
/* CORRUPT names the field. */
enum status command_decode(struct command *c, struct str json, struct err *e) MUST_CHECK;
void command_answer_encode(struct buf *b, const struct command_answer *a);
enum status command_answer_decode(struct command_answer *a, struct str json, struct err *e) MUST_CHECK;
/* INVALID: promote was given another version than the newest one. */
enum status command_not_newest(const struct command *c, uint64_t newest, struct err *e) MUST_CHECK;
#endif
