/* describe.c - templates read, compiled into pieces, and filled in.
 *
 * A compiled template is a run of pieces: literal text, fields (alternatives follow each other, all but the last with
 * `more`), and brackets, whose opening piece knows where they end.  Sources are laid over each other as raw text first
 * (shipped set, file, config) and compiled once, so that an error names where the text in force came from.
 */
#include "featurize/describe.h"
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/describe_templates.inc"
#include <errno.h>
#include <math.h>
#include <stdio.h>

#define FILE_BYTES_MAX 65536
#define FIELD_NAME_MAX 64
enum slot { SLOT_ITEM = EVENT_TYPES_MAX, SLOT_UNKNOWN, SLOT_OTHER, SLOTS };
static const char *const slot_names[SLOTS - SLOT_ITEM] = {"item", "unknown", "other"};

enum piece_kind { LITERAL, FIELD, OPEN, CLOSE };
struct piece {
    enum piece_kind kind;
    bool more;      /* FIELD: the next piece is another alternative */
    uint32_t at, n; /* bytes of text; OPEN: n is the index of its CLOSE */
};
struct template
{
    uint32_t first, n; /* in pieces */
};
struct describe {
    struct buf text; /* of all pieces */
    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    struct template templates[SLOTS]; /* by type, then item, unknown, other */
    uint64_t fingerprint;
};

/* A template's text and where it stands, before compiling. */
struct raw {
    char text[DESCRIBE_TEMPLATE_MAX];
    const char *path; /* NULL: nothing there */
    unsigned line;    /* 0: path is a config key's type name */
};
/* One opening under way. */
struct opening {
    const struct conf *c;
    struct raw raws[SLOTS];
    struct err *e;
};

/* ---- reading ---- */

static int slot_find(const struct conf *c, struct str name)
{
    for (int i = SLOT_ITEM; i < SLOTS; i++)
        if (str_is(name, slot_names[i - SLOT_ITEM])) return i;
    for (uint32_t i = 0; i < c->n_types; i++)
        if (str_is(name, c->types[i].name)) return (int)i;
    return -1;
}

static struct str trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

static enum status read_line(struct opening *o, const char *path, unsigned line, struct str s)
{
    s = trim(s);
    if (s.n == 0 || s.p[0] == '#' || s.p[0] == ';' || str_is(s, "[templates]")) return STATUS_OK;
    const char *eq = memchr(s.p, '=', s.n);
    if (eq == NULL || s.p[0] == '[')
        return ERR_SET(o->e, STATUS_INVALID, "%s:%u: expected `name = sentence`, a comment or [templates]", path, line);
    const struct str name = trim((struct str){s.p, (size_t)(eq - s.p)});
    const struct str text = trim((struct str){eq + 1, (size_t)(s.p + s.n - eq - 1)});
    const int slot = slot_find(o->c, name);
    if (slot < 0)
        return ERR_SET(o->e, STATUS_INVALID,
                       "%s:%u: no behaviour type '" STR_FMT "'; use item, unknown, other, or a type of the config",
                       path, line, STR_ARG(name));
    if (text.n == 0 || text.n >= DESCRIBE_TEMPLATE_MAX)
        return ERR_SET(o->e, STATUS_INVALID, "%s:%u: the template of '" STR_FMT "' has %zu bytes, allowed are 1 to %d",
                       path, line, STR_ARG(name), text.n, DESCRIBE_TEMPLATE_MAX - 1);
    memcpy(o->raws[slot].text, text.p, text.n);
    o->raws[slot].text[text.n] = '\0';
    o->raws[slot].path = path;
    o->raws[slot].line = line;
    return STATUS_OK;
}

static enum status read_text(struct opening *o, const char *path, struct str s)
{
    if (s.n >= 3 && memcmp(s.p, "\xEF\xBB\xBF", 3) == 0) s.p += 3, s.n -= 3;
    for (unsigned line = 1; s.n > 0; line++) {
        const char *end = memchr(s.p, '\n', s.n);
        const size_t n = end ? (size_t)(end - s.p) : s.n, step = end ? n + 1 : n;
        TRY(read_line(o, path, line, (struct str){s.p, n}));
        s.p += step;
        s.n -= step;
    }
    return STATUS_OK;
}

static enum status read_file(struct opening *o, const char *path)
{
    enum status st = STATUS_OK;
    char *text = mem_calloc(FILE_BYTES_MAX + 1, 1);
    if (text == NULL) return ERR_SET(o->e, STATUS_OOM, "describe: out of memory for %s", path);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        st = ERR_SET(o->e, STATUS_IO, "%s: can't open the template file (describe.templates): %s", path,
                     strerror(errno));
        goto out;
    }
    const size_t n = fread(text, 1, FILE_BYTES_MAX + 1, f);
    if (ferror(f) != 0)
        st = ERR_SET(o->e, STATUS_IO, "%s: can't read the template file (describe.templates)", path);
    else if (n > FILE_BYTES_MAX)
        st = ERR_SET(o->e, STATUS_INVALID, "%s: a template file has at most %d bytes", path, FILE_BYTES_MAX);
    else
        st = read_text(o, path, (struct str){text, n});
    fclose(f);
out:
    mem_free(text);
    return st;
}

static enum status read_all(struct opening *o)
{
    const char *shipped = describe_shipped(o->c->describe_language);
    if (shipped == NULL)
        return ERR_SET(o->e, STATUS_INVALID, "describe.language: no shipped templates for '%s'; there are en and zh",
                       o->c->describe_language);
    TRY(read_text(o, o->c->describe_language, str_from(shipped)));
    if (o->c->describe_templates[0] != '\0') TRY(read_file(o, o->c->describe_templates));
    for (uint32_t i = 0; i < o->c->n_types; i++) {
        const struct conf_type *t = &o->c->types[i];
        if (t->template_text[0] == '\0') continue;
        o->raws[i] = (struct raw){.path = t->name, .line = 0};
        memcpy(o->raws[i].text, t->template_text, sizeof o->raws[i].text);
    }
    return STATUS_OK;
}

/* ---- compiling ---- */

struct compiling {
    struct describe *d;
    const struct raw *raw;
    const char *p;              /* next byte */
    bool inside;                /* a bracket */
    size_t open, fields_before; /* OPEN's index, so that a bracket without a field is found */
    struct err *e;
};

static enum status complain(const struct compiling *x, const char *why)
{
    if (x->raw->line > 0) return ERR_SET(x->e, STATUS_INVALID, "%s:%u: %s", x->raw->path, x->raw->line, why);
    return ERR_SET(x->e, STATUS_INVALID, "type.%s.template: %s", x->raw->path, why);
}

static enum status add_piece(struct compiling *x, enum piece_kind kind, const char *text, size_t n)
{
    struct describe *d = x->d;
    const uint32_t at = (uint32_t)d->text.n;
    if (MEM_GROW(d->pieces, &d->cap_pieces, d->n_pieces + 1) != 0)
        return ERR_SET(x->e, STATUS_OOM, "describe: out of memory for templates");
    buf_put(&d->text, text, n);
    d->pieces[d->n_pieces++] = (struct piece){.kind = kind, .at = at, .n = (uint32_t)n};
    return buf_status(&d->text, x->e);
}

static enum status add_literal(struct compiling *x)
{
    char text[DESCRIBE_TEMPLATE_MAX];
    size_t n = 0;
    while (*x->p != '\0') {
        const char c = *x->p;
        if (strchr("{}[]", c) != NULL) {
            if (x->p[1] != c) break;
            x->p++;
        }
        text[n++] = c;
        x->p++;
    }
    if (n == 0) return complain(x, "a single '}'; a brace itself is written '}}'");
    return add_piece(x, LITERAL, text, n);
}

/* {a|b|c}; p stands behind the brace. */
static enum status add_fields(struct compiling *x)
{
    const char *end = strpbrk(x->p, "{}[]");
    if (end == NULL || *end != '}') return complain(x, "a field is not closed; write {name} or {name|other}");
    for (bool more = true; more;) {
        const char *bar = memchr(x->p, '|', (size_t)(end - x->p));
        const char *stop = bar ? bar : end;
        const struct str name = trim((struct str){x->p, (size_t)(stop - x->p)});
        if (name.n == 0 || name.n > FIELD_NAME_MAX) return complain(x, "a field's name has 1 to 64 bytes");
        TRY(add_piece(x, FIELD, name.p, name.n));
        more = bar != NULL;
        x->d->pieces[x->d->n_pieces - 1].more = more;
        x->p = stop + 1;
    }
    x->fields_before++;
    return STATUS_OK;
}

static enum status add_bracket(struct compiling *x)
{
    if (*x->p++ == '[') {
        if (x->inside) return complain(x, "brackets don't nest; a bracket itself is written '[['");
        x->inside = true;
        x->open = x->d->n_pieces;
        x->fields_before = 0;
        return add_piece(x, OPEN, "", 0);
    }
    if (!x->inside) return complain(x, "a single ']'; a bracket itself is written ']]'");
    if (x->fields_before == 0) return complain(x, "a bracket without a field would never vanish; leave it out");
    x->inside = false;
    x->d->pieces[x->open].n = (uint32_t)x->d->n_pieces;
    return add_piece(x, CLOSE, "", 0);
}

static enum status compile(struct describe *d, const struct raw *raw, struct template *out, struct err *e)
{
    struct compiling x = {.d = d, .raw = raw, .p = raw->text, .e = e};
    out->first = (uint32_t)d->n_pieces;
    while (*x.p != '\0') {
        const bool doubled = x.p[0] == x.p[1];
        if (*x.p == '{' && !doubled) {
            x.p++;
            TRY(add_fields(&x));
        } else if ((*x.p == '[' || *x.p == ']') && !doubled) {
            TRY(add_bracket(&x));
        } else {
            TRY(add_literal(&x));
        }
    }
    if (x.inside) return complain(&x, "a bracket is not closed");
    out->n = (uint32_t)d->n_pieces - out->first;
    return STATUS_OK;
}

static enum status compile_all(struct describe *d, const struct opening *o)
{
    for (int i = 0; i < SLOTS; i++) {
        if (o->raws[i].path == NULL) continue;
        TRY(compile(d, &o->raws[i], &d->templates[i], o->e));
        d->fingerprint = hash_mix(d->fingerprint, hash_mix((uint64_t)i, hash_str(str_from(o->raws[i].text))));
    }
    for (uint32_t i = 0; i < o->c->n_types; i++) {
        d->fingerprint = hash_mix(d->fingerprint, hash_str(str_from(o->c->types[i].name)));
        if (d->templates[i].n == 0) d->templates[i] = d->templates[SLOT_OTHER];
    }
    const struct template *unknown = &d->templates[SLOT_UNKNOWN];
    if (unknown->n == 1 && d->pieces[unknown->first].kind == LITERAL) return STATUS_OK;
    return ERR_SET(o->e, STATUS_INVALID, "%s:%u: `unknown` stands for what is missing and names no field",
                   o->raws[SLOT_UNKNOWN].path, o->raws[SLOT_UNKNOWN].line);
}

enum status describe_open(struct describe **out, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OOM;
    *out = NULL;
    struct describe *d = mem_calloc(1, sizeof *d);
    struct opening *o = mem_calloc(1, sizeof *o);
    if (d == NULL || o == NULL) {
        st = ERR_SET(e, STATUS_OOM, "describe: out of memory for templates");
        goto out;
    }
    o->c = c;
    o->e = e;
    TRY_OUT(st, read_all(o));
    TRY_OUT(st, compile_all(d, o));
    *out = d;
    d = NULL;
out:
    mem_free(o);
    describe_close(d);
    return st;
}

void describe_close(struct describe *d)
{
    if (d == NULL) return;
    buf_fini(&d->text);
    mem_free(d->pieces);
    mem_free(d);
}

const char *describe_shipped(const char *language)
{
    if (strcmp(language, "en") == 0) return describe_text_en;
    if (strcmp(language, "zh") == 0) return describe_text_zh;
    return NULL;
}

/* ---- filling in ---- */

struct rendering {
    const struct describe *d;
    const char *type_name;
    const struct record_attr *attrs;
    uint32_t n_attrs;
    char *out;
    size_t n, cap;
    uint64_t printed; /* bit per attribute that stands in the sentence */
};

static void put_bytes(struct rendering *x, const char *p, size_t n)
{
    if (n > x->cap - x->n) n = x->cap - x->n;
    memcpy(x->out + x->n, p, n);
    x->n += n;
}

/* Values of a list are parted by \x1f. */
static void put_value(struct rendering *x, struct str s)
{
    while (s.n > 0) {
        const char *sep = memchr(s.p, '\x1f', s.n);
        const size_t n = sep ? (size_t)(sep - s.p) : s.n;
        put_bytes(x, s.p, n);
        if (sep == NULL) return;
        put_bytes(x, ", ", 2);
        s.p += n + 1;
        s.n -= n + 1;
    }
}

static bool blank(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] > ' ') return false;
    return true;
}

#define ATTR_NONE (-1)
#define ATTR_TYPE (-2) /* {type} */

/* Which attribute the field at pieces[*i] shows; *i then stands on the last alternative. */
static int resolve(const struct rendering *x, uint32_t *i)
{
    int found = ATTR_NONE;
    for (;; (*i)++) {
        const struct piece *p = &x->d->pieces[*i];
        const struct str name = {(const char *)x->d->text.p + p->at, p->n};
        for (uint32_t a = 0; found == ATTR_NONE && a < x->n_attrs; a++) {
            const struct record_attr *attr = &x->attrs[a];
            if (str_eq(attr->name, name) && (!blank(attr->text) || isfinite(attr->number))) found = (int)a;
        }
        if (found == ATTR_NONE && str_is(name, "type") && x->type_name != NULL) found = ATTR_TYPE;
        if (!p->more) return found;
    }
}

/* A bracket shows when all its fields are there and one of them is new to the sentence. */
static bool bracket_shows(const struct rendering *x, uint32_t first, uint32_t end)
{
    bool new = false;
    for (uint32_t i = first; i < end; i++) {
        if (x->d->pieces[i].kind != FIELD) continue;
        const int a = resolve(x, &i);
        if (a == ATTR_NONE) return false;
        new = new || a < 0 || a >= 64 || (x->printed >> a & 1) == 0;
    }
    return new;
}

static void put_field(struct rendering *x, int a)
{
    char number[DESCRIBE_NUMBER_MAX];
    if (a == ATTR_NONE) {
        const struct piece *p = &x->d->pieces[x->d->templates[SLOT_UNKNOWN].first];
        put_bytes(x, (const char *)x->d->text.p + p->at, p->n);
    } else if (a == ATTR_TYPE) {
        put_bytes(x, x->type_name, strlen(x->type_name));
    } else if (!blank(x->attrs[a].text)) {
        put_value(x, x->attrs[a].text);
    } else {
        put_bytes(x, number, describe_number(number, x->attrs[a].number));
    }
    if (a >= 0 && a < 64) x->printed |= UINT64_C(1) << a;
}

/* Cut back to a character's edge: a text that was cut may end inside one. */
static size_t whole_characters(const char *p, size_t n)
{
    size_t start = n;
    while (start > 0 && n - start < 4 && ((unsigned char)p[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return n;
    const unsigned char lead = (unsigned char)p[start - 1];
    const size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return n - (start - 1) < need ? start - 1 : n;
}

size_t describe_render(const struct describe *d, uint8_t type, const char *type_name, const struct record_attr *attrs,
                       uint32_t n_attrs, char *out, size_t cap)
{
    const struct template *t = &d->templates[SLOT_OTHER];
    if (type == DESCRIBE_ITEM) t = &d->templates[SLOT_ITEM];
    if (type < EVENT_TYPES_MAX && d->templates[type].n > 0) t = &d->templates[type];
    struct rendering x = {.d = d, .type_name = type_name, .attrs = attrs, .n_attrs = n_attrs, .out = out, .cap = cap};
    if (x.cap > DESCRIBE_BYTES_MAX) x.cap = DESCRIBE_BYTES_MAX;
    for (uint32_t i = t->first; i < t->first + t->n; i++) {
        const struct piece *p = &d->pieces[i];
        if (p->kind == LITERAL)
            put_bytes(&x, (const char *)d->text.p + p->at, p->n);
        else if (p->kind == FIELD)
            put_field(&x, resolve(&x, &i));
        else if (p->kind == OPEN && !bracket_shows(&x, i + 1, p->n))
            i = p->n;
    }
    return x.n == x.cap ? whole_characters(out, x.n) : x.n;
}

/* ---- questions ---- */

static bool uses(const struct describe *d, const struct template *t, struct str attr)
{
    for (uint32_t i = t->first; i < t->first + t->n; i++) {
        const struct piece *p = &d->pieces[i];
        if (p->kind == FIELD && str_eq(attr, (struct str){(const char *)d->text.p + p->at, p->n})) return true;
    }
    return false;
}

bool describe_uses(const struct describe *d, struct str attr)
{
    for (int i = 0; i < SLOTS; i++)
        if (uses(d, &d->templates[i], attr)) return true;
    return false;
}

bool describe_item_uses(const struct describe *d, struct str attr)
{
    return uses(d, &d->templates[SLOT_ITEM], attr);
}

uint64_t describe_fingerprint(const struct describe *d)
{
    return d->fingerprint;
}
