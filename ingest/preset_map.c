/* preset_map.c - reads a map file line by line; every error names path and line. */
#include "ingest/preset_map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/parse.h"
#include "ingest/parse_text.h"
#include "ingest/preset_pattern.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAP_LINE 1024

enum section {
    SECTION_NONE,
    SECTION_CSV,
    SECTION_TIME,
    SECTION_FIELDS,
    SECTION_CONSTANTS,
    SECTION_RULES,
    SECTION_COUNT
};
static const char *const section_names[SECTION_COUNT] = {"", "csv", "time", "fields", "constants", "rules"};

struct map_reader { /* where an error is, and what is being filled */
    struct preset_map *map;
    const struct conf *conf;
    int line;
    enum section section;
    struct err *e;
};
#define MAP_ERROR(r, ...) (ERR_SET((r)->e, STATUS_INVALID, __VA_ARGS__), map_error(r))

static enum status map_error(const struct map_reader *r)
{
    return r->e != NULL ? err_prefix(r->e, "%s:%d", r->map->path, r->line) : STATUS_INVALID;
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) != NULL) s.n--;
    return s;
}

/* The first word (up to blank or end) of *s, which moves behind it. */
static struct str next_word(struct str *s)
{
    size_t n = 0;
    *s = trimmed(*s);
    while (n < s->n && s->p[n] != ' ' && s->p[n] != '\t') n++;
    const struct str word = {s->p, n};
    *s = trimmed((struct str){s->p + n, s->n - n});
    return word;
}

static enum status keep(const struct map_reader *r, struct str s, struct str *out)
{
    *out = arena_str(&r->map->arena, s);
    return out->p != NULL ? STATUS_OK : ERR_SET(r->e, STATUS_OOM, "%s: no memory for the map", r->map->path);
}

static enum status read_transform(const struct map_reader *r, struct str text, struct preset_cell *cell)
{
    static const struct {
        const char *name;
        bool argument;
    } known[] = {{"upper", false},  {"lower", false}, {"trim", false}, {"strip", true},
                 {"number", false}, {"abs", false},   {"list", true}};
    const struct str name = next_word(&text);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!str_is(name, known[i].name)) continue;
        if (known[i].argument != (text.n > 0))
            return MAP_ERROR(r, "%s %s", known[i].name,
                             known[i].argument ? "needs an argument, as in: strip .0" : "takes no argument");
        if (cell->n_transforms == PRESET_MAP_TRANSFORMS)
            return MAP_ERROR(r, "more than %d transforms", PRESET_MAP_TRANSFORMS);
        if (i == TRANSFORM_LIST && text.n != 1) return MAP_ERROR(r, "list takes one character, the separator");
        cell->transforms[cell->n_transforms].kind = (enum preset_transform_kind)i;
        return keep(r, text, &cell->transforms[cell->n_transforms++].argument);
    }
    return MAP_ERROR(
        r, "unknown transform \"" STR_FMT "\"; there are upper, lower, trim, strip SUFFIX, number, abs, list SEPARATOR",
        STR_ARG(name));
}

/* Where the " | " that ends the first part of s begins, or s.n. */
static size_t find_bar(struct str s)
{
    for (size_t i = 0; i + 2 < s.n; i++)
        if (s.p[i] == ' ' && s.p[i + 1] == '|' && s.p[i + 2] == ' ') return i;
    return s.n;
}

/* COLUMN | TRANSFORM | ... */
static enum status read_cell(const struct map_reader *r, struct str text, struct preset_cell *cell)
{
    size_t bar = find_bar(text);
    const struct str column = trimmed((struct str){text.p, bar});
    if (column.n == 0) return MAP_ERROR(r, "a column's name is missing");
    cell->line = r->line;
    cell->index = -1;
    TRY(keep(r, column, &cell->column));
    while (bar < text.n) {
        text = (struct str){text.p + bar + 3, text.n - bar - 3};
        bar = find_bar(text);
        TRY(read_transform(r, trimmed((struct str){text.p, bar}), cell));
    }
    return STATUS_OK;
}

/* An attribute's name has the rules of an id, as in the native format. */
static enum status read_name(const struct map_reader *r, struct str name, struct str *out)
{
    struct reject why = {0};
    struct parse_context x = {.arena = &r->map->arena, .reject = &why};
    if (parse_id(&x, "a field's name", name, out)) return STATUS_OK;
    return x.oom ? ERR_SET(r->e, STATUS_OOM, "%s: no memory for the map", r->map->path) : MAP_ERROR(r, "%s", why.text);
}

static enum status read_field_name(const struct map_reader *r, struct str name, struct preset_field *f)
{
    static const struct {
        const char *name;
        enum preset_field_kind kind;
        size_t offset;
    } known[] = {
        {"time", FIELD_TIME, 0},
        {"type", FIELD_TYPE, 0},
        {"value", FIELD_VALUE, 0},
        {"id", FIELD_ID, offsetof(struct event, id)},
        {"source", FIELD_ID, offsetof(struct event, source)},
        {"user", FIELD_ID, offsetof(struct event, user)},
        {"item", FIELD_ID, offsetof(struct event, item)},
        {"session", FIELD_ID, offsetof(struct event, session)},
        {"order", FIELD_ID, offsetof(struct event, order)},
        {"request", FIELD_ID, offsetof(struct event, request)},
        {"version", FIELD_ID, offsetof(struct event, version)},
        {"variant", FIELD_ID, offsetof(struct event, variant)},
    };
    f->kind = FIELD_ATTRIBUTE;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!str_is(name, known[i].name)) continue;
        f->kind = known[i].kind;
        f->id_offset = known[i].offset;
    }
    if (f->kind == FIELD_ATTRIBUTE && parse_is_reserved(name))
        return MAP_ERROR(r, "\"" STR_FMT "\" can't come from a CSV row; use the native format for it", STR_ARG(name));
    for (uint32_t i = 0; i < r->map->n_fields; i++)
        if (str_eq(r->map->fields[i].name, name))
            return MAP_ERROR(r, "field \"" STR_FMT "\" is given twice", STR_ARG(name));
    return read_name(r, name, &f->name);
}

static enum status read_field(const struct map_reader *r, struct str key, struct str value)
{
    struct preset_map *m = r->map;
    if (m->n_fields == PRESET_MAP_FIELDS) return MAP_ERROR(r, "more than %d fields", PRESET_MAP_FIELDS);
    struct preset_field *f = &m->fields[m->n_fields];
    TRY(read_field_name(r, key, f));
    f->constant = r->section == SECTION_CONSTANTS;
    if (f->constant && f->kind == FIELD_TIME) return MAP_ERROR(r, "time can't be a constant");
    m->n_fields++;
    if (!f->constant) return read_cell(r, value, &f->cell);
    if (value.n == 0 || value.n > EVENT_ID_MAX) return MAP_ERROR(r, "a constant has 1 to %d bytes", EVENT_ID_MAX);
    return keep(r, value, &f->text);
}

static const struct {
    const char *text;
    enum preset_op op;
} ops[] = {{"~", OP_MATCH},       {"!~", OP_NO_MATCH}, {"=", OP_EQUAL},        {"!=", OP_UNEQUAL},
           {"<", OP_LESS},        {"<=", OP_AT_MOST},  {">", OP_MORE},         {">=", OP_AT_LEAST},
           {"starts", OP_STARTS}, {"empty", OP_EMPTY}, {"present", OP_PRESENT}};

static enum preset_op op_of(struct str word)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (str_is(word, ops[i].text)) return ops[i].op;
    return OP_ALWAYS;
}

/* What the operator compares with. */
static enum status read_operand(const struct map_reader *r, struct str text, struct preset_rule *rule)
{
    const bool none = rule->op == OP_EMPTY || rule->op == OP_PRESENT;
    if (none != (text.n == 0))
        return MAP_ERROR(r, none ? "empty and present take no value" : "the condition has no value to compare with");
    TRY(keep(r, text, &rule->text));
    if (rule->op >= OP_LESS && rule->op <= OP_AT_LEAST && !parse_decimal(text, &rule->number))
        return MAP_ERROR(r, "\"" STR_FMT "\" is not a number; < <= > >= compare numbers", STR_ARG(text));
    if (rule->op != OP_MATCH && rule->op != OP_NO_MATCH) return STATUS_OK;
    if (preset_pattern_atoms(rule->text.p) > PRESET_PATTERN_MAX)
        return MAP_ERROR(r, "\"" STR_FMT "\" repeats too much: over %d characters when its repetitions are written out",
                         STR_ARG(text), PRESET_PATTERN_MAX);
    const int rc = regcomp(&rule->regex, rule->text.p, REG_EXTENDED | REG_NOSUB);
    rule->regex_open = rc == 0;
    if (rc == 0) return STATUS_OK;
    char why[120];
    (void)regerror(rc, &rule->regex, why, sizeof why);
    return MAP_ERROR(r, "\"" STR_FMT "\" is no regular expression: %s", STR_ARG(text), why);
}

/* COLUMN | TRANSFORM ... OP VALUE: the operator is the first word that is one. */
static enum status read_condition(const struct map_reader *r, struct str text, struct preset_rule *rule)
{
    struct str rest = text;
    if (str_is(text, "always")) return STATUS_OK;
    while (rest.n > 0) {
        const struct str word = next_word(&rest);
        rule->op = op_of(word);
        if (rule->op == OP_ALWAYS || word.p == text.p) continue;
        TRY(read_cell(r, trimmed((struct str){text.p, (size_t)(word.p - text.p)}), &rule->cell));
        return read_operand(r, rest, rule);
    }
    return MAP_ERROR(r, "\"" STR_FMT "\" is no condition; write COLUMN OP VALUE, as in: Quantity <= 0", STR_ARG(text));
}

static enum status read_rule(const struct map_reader *r, struct str key, struct str value)
{
    struct preset_map *m = r->map;
    const bool skip = key.n > 5 && memcmp(key.p, "skip.", 5) == 0, type = key.n > 5 && memcmp(key.p, "type.", 5) == 0;
    if (!skip && !type) return MAP_ERROR(r, "rules are skip.REASON or type.NAME, not \"" STR_FMT "\"", STR_ARG(key));
    if (m->n_rules == PRESET_MAP_RULES) return MAP_ERROR(r, "more than %d rules", PRESET_MAP_RULES);
    if (key.n - 5 > 39) return MAP_ERROR(r, "a rule's name has at most 39 bytes");
    struct preset_rule *rule = &m->rules[m->n_rules++];
    rule->skip = skip;
    TRY(keep(r, (struct str){key.p + 5, key.n - 5}, &rule->name));
    return read_condition(r, value, rule);
}

static enum status read_csv(const struct map_reader *r, struct str key, struct str value)
{
    if (str_is(key, "delimiter") && (value.n == 1 || str_is(value, "tab"))) {
        r->map->delimiter = value.n == 1 ? value.p[0] : '\t';
        return STATUS_OK;
    }
    if (str_is(key, "quote") && (value.n == 1 || str_is(value, "none"))) {
        r->map->quote = value.n == 1 ? value.p[0] : 0;
        return STATUS_OK;
    }
    return MAP_ERROR(r,
                     "[csv] knows delimiter (one character or tab) and quote (one character or none), not \"" STR_FMT
                     " = " STR_FMT "\"",
                     STR_ARG(key), STR_ARG(value));
}

static enum status read_time(const struct map_reader *r, struct str key, struct str value)
{
    int64_t minutes = 0;
    if (str_is(key, "format") && value.n > 0) return keep(r, value, &r->map->time_format);
    if (!str_is(key, "utc_offset_minutes") || !parse_digits(value, &minutes) || minutes < -1440 || minutes > 1440)
        return MAP_ERROR(
            r, "[time] knows format and utc_offset_minutes (-1440 to 1440), not \"" STR_FMT " = " STR_FMT "\"",
            STR_ARG(key), STR_ARG(value));
    r->map->utc_offset_ms = minutes * 60000;
    return STATUS_OK;
}

static enum status read_section(struct map_reader *r, struct str line)
{
    for (int i = 1; i < SECTION_COUNT; i++) {
        r->section = (enum section)i;
        if (line.n >= 2 && line.p[line.n - 1] == ']' && str_is((struct str){line.p + 1, line.n - 2}, section_names[i]))
            return STATUS_OK;
    }
    return MAP_ERROR(r, "unknown section " STR_FMT "; there are [csv] [time] [fields] [constants] [rules]",
                     STR_ARG(line));
}

static enum status read_line(struct map_reader *r, struct str line)
{
    if (!utf8_valid(line)) return MAP_ERROR(r, "the line is not UTF-8");
    line = trimmed(line);
    if (line.n == 0 || line.p[0] == '#' || line.p[0] == ';') return STATUS_OK;
    if (line.p[0] == '[') return read_section(r, line);
    const char *equals = memchr(line.p, '=', line.n);
    if (equals == NULL || r->section == SECTION_NONE) return MAP_ERROR(r, "expected key = value inside a section");
    const struct str key = trimmed((struct str){line.p, (size_t)(equals - line.p)});
    const struct str value = trimmed((struct str){equals + 1, line.n - (size_t)(equals + 1 - line.p)});
    if (key.n == 0) return MAP_ERROR(r, "a key is missing before =");
    switch (r->section) {
    case SECTION_CSV: return read_csv(r, key, value);
    case SECTION_TIME: return read_time(r, key, value);
    case SECTION_RULES: return read_rule(r, key, value);
    default: return read_field(r, key, value);
    }
}

static enum status read_file(struct map_reader *r)
{
    char line[MAP_LINE];
    enum status st = STATUS_OK;
    FILE *f = fopen(r->map->path, "re");
    if (f == NULL) return ERR_SET(r->e, STATUS_IO, "%s: the map can't be read: %s", r->map->path, strerror(errno));
    while (st == STATUS_OK && fgets(line, sizeof line, f) != NULL) {
        const size_t n = strlen(line);
        r->line++;
        if (n == sizeof line - 1 && line[n - 1] != '\n')
            st = MAP_ERROR(r, "the line is longer than %d bytes", MAP_LINE - 2);
        else if (n == 0 || (line[n - 1] != '\n' && !feof(f)))
            st = MAP_ERROR(r, "the line has a NUL byte");
        else
            st = read_line(r, (struct str){line, n});
    }
    if (st == STATUS_OK && ferror(f)) st = ERR_SET(r->e, STATUS_IO, "%s: reading failed", r->map->path);
    (void)fclose(f);
    return st;
}

static bool has_field(const struct preset_map *m, enum preset_field_kind kind)
{
    for (uint32_t i = 0; i < m->n_fields; i++)
        if (m->fields[i].kind == kind) return true;
    return false;
}

static enum status check_types(const struct map_reader *r)
{
    const struct preset_map *m = r->map;
    for (uint32_t i = 0; i < m->n_rules + m->n_fields; i++) {
        const bool rule = i < m->n_rules;
        const struct preset_field *f = rule ? NULL : &m->fields[i - m->n_rules];
        if (rule ? m->rules[i].skip : f->kind != FIELD_TYPE || !f->constant) continue;
        const struct str name = rule ? m->rules[i].name : f->text;
        if (str_is(name, "item") || str_is(name, "user") || conf_type_find(r->conf, name) >= 0) continue;
        return ERR_SET(r->e, STATUS_INVALID, "%s: type \"%s\" is not declared; say what it means with type.%s.label",
                       m->path, name.p, name.p);
    }
    return STATUS_OK;
}

/* Is the field's cell made a number by its transforms? */
static bool is_number(const struct preset_field *f)
{
    bool number = false;
    for (uint32_t i = 0; i < f->cell.n_transforms; i++)
        number =
            number || f->cell.transforms[i].kind == TRANSFORM_NUMBER || f->cell.transforms[i].kind == TRANSFORM_ABS;
    return number;
}

static enum status check_numbers(const struct map_reader *r)
{
    const struct preset_map *m = r->map;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct preset_field *f = &m->fields[i];
        if ((str_is(f->name, "price") || str_is(f->name, "quantity")) && !is_number(f))
            return ERR_SET(r->e, STATUS_INVALID, "%s: %s must be a number; write %s = COLUMN | number", m->path,
                           f->name.p, f->name.p);
    }
    return STATUS_OK;
}

static enum status check_map(const struct map_reader *r)
{
    const struct preset_map *m = r->map;
    bool typed = has_field(m, FIELD_TYPE);
    for (uint32_t i = 0; i < m->n_rules; i++) typed = typed || !m->rules[i].skip;
    if (!has_field(m, FIELD_TIME)) return ERR_SET(r->e, STATUS_INVALID, "%s: [fields] needs time = COLUMN", m->path);
    if (!typed)
        return ERR_SET(r->e, STATUS_INVALID, "%s: no type; add type = purchase (or another) to [constants]", m->path);
    if (m->time_format.p == NULL)
        return ERR_SET(r->e, STATUS_INVALID, "%s: [time] needs format, as in: format = %%Y-%%m-%%d %%H:%%M:%%S",
                       m->path);
    TRY(check_numbers(r));
    return check_types(r);
}

enum status preset_map_new(struct preset_map **out, const char *path, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct preset_map *m = mem_calloc(1, sizeof *m);
    if (m == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for the map", path);
    struct map_reader r = {.map = m, .conf = c, .e = e};
    arena_init(&m->arena, 8192);
    m->delimiter = ',';
    m->quote = '"';
    m->path = mem_strdup(path);
    if (m->path == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory for the map", path);
        goto out;
    }
    TRY_OUT(st, read_file(&r));
    TRY_OUT(st, check_map(&r));
    *out = m;
    m = NULL;
out:
    preset_map_free(m);
    return st;
}

void preset_map_free(struct preset_map *m)
{
    if (m == NULL) return;
    for (uint32_t i = 0; i < m->n_rules; i++)
        if (m->rules[i].regex_open) regfree(&m->rules[i].regex);
    arena_fini(&m->arena);
    mem_free(m->path);
    mem_free(m);
}
