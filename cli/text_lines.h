/* text_lines.h - texts on stdin, one a line, to the same objects with one member more on stdout.
 *
 * What `embed` (and commands like it) share: reading bounded lines, strict JSON, putting the answer before the object's
 * closing brace so that the rest keeps its bytes.  Lines are answered many at a time, in their order.
 */
#ifndef CLI_TEXT_LINES_H
#define CLI_TEXT_LINES_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>

#define CMD_TEXTS_TOGETHER 1024

struct cmd_text {
    struct str text;
    struct buf answer;  /* the member's JSON value is appended here */
    enum status status; /* of this line; the first that failed ends the command, after the lines before it */
    struct err why;
};
struct cmd_texts {
    bool plain;         /* each line is a text, not an object {"text":"..."} */
    const char *member; /* the name of what is added; one that the object has is replaced */
    /* Answers 1 … CMD_TEXTS_TOGETHER texts. */
    void (*answer)(void *user, struct cmd_text *texts, size_t n);
    void *user;
};
/* All of stdin.  A malformed line ends it: INVALID, naming the line by its number; IO: stdin or stdout fail; OOM. */
enum status cmd_texts_run(const struct cmd_texts *t, size_t *n_lines, struct err *e) MUST_CHECK;
#endif
