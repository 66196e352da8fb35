/* preset_map.h - the field map of a CSV log: an INI file that says which column is which field, and what rows mean.
 *
 *   [csv]        delimiter = ,  (one character, or tab)      quote = "  (or none)
 *   [time]       format = %Y-%m-%d %H:%M:%S  (also %y %f %z, literals; or ms, s, rfc3339)     utc_offset_minutes = 0
 *   [fields]     FIELD = COLUMN | TRANSFORM | ...
 *   [constants]  FIELD = text
 *   [rules]      skip.REASON = CONDITION     type.NAME = CONDITION
 *
 * FIELD is time, type, id, source, user, item, session, order, request, value, version, variant or an attribute's name.
 * TRANSFORM is upper, lower, trim, number, abs, strip SUFFIX, or list SEPARATOR.  Rules are tried in order and the first
 * that holds decides; a row that no type rule names has the type of [fields] or [constants].  CONDITION is
 * `COLUMN | TRANSFORM ... OP VALUE` with OP ~ !~ (POSIX extended regular expressions) = != < <= > >= (the last four are
 * numeric), `COLUMN ... starts TEXT`, `COLUMN ... empty`, `COLUMN ... present` or `always`.  Comments are whole lines
 * beginning with # or ;.  Not for other rooms.
 */
#ifndef INGEST_PRESET_MAP_H
#define INGEST_PRESET_MAP_H
#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"
#include <regex.h>

#define PRESET_MAP_TRANSFORMS 6
#define PRESET_MAP_FIELDS 64
#define PRESET_MAP_RULES 64
#define PRESET_MAP_COLUMNS 512

enum preset_transform_kind {
    TRANSFORM_UPPER,
    TRANSFORM_LOWER,
    TRANSFORM_TRIM,
    TRANSFORM_STRIP,
    TRANSFORM_NUMBER,
    TRANSFORM_ABS,
    TRANSFORM_LIST
};
struct preset_cell { /* a column and what is done to its text */
    struct str column;
    int index; /* in the current file's header */
    struct {
        enum preset_transform_kind kind;
        struct str argument;
    } transforms[PRESET_MAP_TRANSFORMS];
    uint32_t n_transforms;
    int line; /* of the map */
};
enum preset_field_kind { FIELD_TIME, FIELD_TYPE, FIELD_ID, FIELD_VALUE, FIELD_ATTRIBUTE };
struct preset_field {
    struct str name;
    enum preset_field_kind kind;
    size_t id_offset; /* FIELD_ID: offsetof its struct str in struct event */
    bool constant;
    struct str text; /* of a constant */
    struct preset_cell cell;
};
enum preset_op {
    OP_ALWAYS,
    OP_MATCH,
    OP_NO_MATCH,
    OP_EQUAL,
    OP_UNEQUAL,
    OP_LESS,
    OP_AT_MOST,
    OP_MORE,
    OP_AT_LEAST,
    OP_STARTS,
    OP_EMPTY,
    OP_PRESENT
};
struct preset_rule {
    bool skip;
    struct str name; /* the reason, or the type */
    enum preset_op op;
    struct preset_cell cell;
    struct str text;
    double number;
    regex_t regex;
    bool regex_open;
};
struct preset_map {
    struct arena arena;
    char *path;
    char delimiter, quote;
    struct str time_format;
    int64_t utc_offset_ms;
    struct preset_field fields[PRESET_MAP_FIELDS];
    uint32_t n_fields;
    struct preset_rule rules[PRESET_MAP_RULES];
    uint32_t n_rules;
};
/* INVALID names path:line; IO when it can't be read. */
enum status preset_map_new(struct preset_map **out, const char *path, const struct conf *c, struct err *e) MUST_CHECK;
void preset_map_free(struct preset_map *m);
/* Reads a time by a format of [time] (not ms, s, rfc3339); as UTC. */
bool preset_time_parse(struct str format, struct str s, int64_t *ms);
#endif
