/* text_lines.h - texts on stdin, one a line, to the same objects with one member more on stdout.
 *
 * What `embed` (and commands like it) share: reading bounded lines, strict JSON, putting the answer before the object's
 * closing brace so that the rest keeps its bytes.
 */
#ifndef CLI_TEXT_LINES_H
#define CLI_TEXT_LINES_H
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>

struct cmd_texts {
    bool plain;         /* each line is a text, not an object {"text":"..."} */
    const char *member; /* the name of what is added; one that the object has is replaced */
    /* Appends the member's JSON value for one text. */
    enum status (*answer)(void *user, struct str text, struct buf *out, struct err *e);
    void *user;
};
/* All of stdin.  A malformed line ends it: INVALID, naming the line by its number; IO: stdin or stdout fail; OOM. */
enum status cmd_texts_run(const struct cmd_texts *t, size_t *n_lines, struct err *e) MUST_CHECK;
#endif
