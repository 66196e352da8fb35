/* conf_file.c - configuration from INI files and from the environment; the only file that includes ini.h.
 *
 * inih splits lines into section, name and value.  Its reader hook is ours, for three reasons: inih cuts a line at 198
 * bytes without a word, so longer ones are handed over in pieces that its continuation lines put together again; blanks
 * in front of a line would make it a continuation, so they are dropped; and errors must name the line in the file.
 */
#include "base/mem.h"
#include "schemas/conf_table.h"
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define PIECE_BYTES 190  /* of a line for inih; its buffer holds 198 and the end */
#define SECTION_BYTES 48 /* inih's bound on a section's name */

struct file {
    struct conf *c;
    const char *path;
    FILE *in;
    char line[LINE_MAX_BYTES + 2]; /* as read, blanks around it cut */
    char *rest;                    /* what of line inih has not seen; NULL: read another */
    size_t line_no;
    bool piece;                                        /* the last piece handed over continues a value */
    char key[CONF_KEY_MAX], value[LINE_MAX_BYTES + 2]; /* of the pair being put together */
    size_t key_line;                                   /* where it stands; 0: none */
    enum status st;
    struct err err;
};

static enum status fail_at(struct file *f, size_t line)
{
    f->st = f->err.code;
    return err_prefix(&f->err, "%s:%zu", f->path, line);
}

static enum status refuse(struct file *f, const char *why)
{
    (void)ERR_SET(&f->err, STATUS_INVALID, "%s", why);
    return fail_at(f, f->line_no);
}

/* Sets the pair that is complete now. */
static void finish_pair(struct file *f)
{
    const size_t line = f->key_line;
    f->key_line = 0;
    if (line == 0 || f->st != STATUS_OK) return;
    if (conf_set(f->c, f->key, f->value, &f->err) != STATUS_OK) (void)fail_at(f, line);
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
    struct file *f = user;
    if (f->st != STATUS_OK) return 0;
    if (f->piece) { /* never longer than the line that both came from */
        memcpy(f->value + strlen(f->value), value, strlen(value) + 1);
        return 1;
    }
    finish_pair(f);
    if (f->st != STATUS_OK) return 0;
    const size_t n_section = strlen(section), n_name = strlen(name);
    if (n_section == 0) return refuse(f, "a key before the first [section]") == STATUS_OK;
    if (n_section + 1 + n_name >= sizeof f->key) return refuse(f, "the key is too long") == STATUS_OK;
    memcpy(f->key, section, n_section);
    f->key[n_section] = '.';
    memcpy(f->key + n_section + 1, name, n_name + 1);
    memcpy(f->value, value, strlen(value) + 1);
    f->key_line = f->line_no;
    return 1;
}

/* Reads the next line into f->line without the blanks around it; false at the end or after a refusal. */
static bool read_line(struct file *f)
{
    if (fgets(f->line, sizeof f->line, f->in) == NULL) {
        if (ferror(f->in)) {
            f->st = ERR_SET(&f->err, STATUS_IO, "%s: cannot be read: %s", f->path, strerror(errno));
        }
        return false;
    }
    f->line_no++;
    size_t n = strlen(f->line);
    if (n == 0 || (f->line[n - 1] != '\n' && !feof(f->in))) {
        (void)refuse(f, "a line with a NUL byte, or longer than 4096 bytes");
        return false;
    }
    char *from = f->line;
    if (f->line_no == 1 && strncmp(from, "\xef\xbb\xbf", 3) == 0) from += 3;
    while (isspace((unsigned char)*from)) from++;
    n = strlen(from);
    while (n > 0 && isspace((unsigned char)from[n - 1])) n--;
    memmove(f->line, from, n);
    f->line[n] = 0;
    return true;
}

/* What inih would pass over behind a section's name, a comment apart. */
static bool ends_there(const char *end)
{
    const char *p = end + 1;
    while (isspace((unsigned char)*p)) p++;
    return *p == 0 || *p == ';' || *p == '#';
}

/* Is the line one that inih takes?  It would skip a wrong one and go on. */
static bool line_valid(struct file *f)
{
    const char *end = strchr(f->line, ']');
    if (f->line[0] == '[') {
        if (end == NULL) return refuse(f, "a section without ']'") == STATUS_OK;
        if (end == f->line + 1 || end - f->line > SECTION_BYTES)
            return refuse(f, "a section's name has 1 to 47 bytes") == STATUS_OK;
        return ends_there(end) ||
               refuse(f, "a section's line ends with ']'; keys go on lines of their own") == STATUS_OK;
    }
    if (strpbrk(f->line, "=:") != NULL && f->line[0] != '=' && f->line[0] != ':') return true;
    return refuse(f, "neither 'key = value' nor '[section]' nor a comment (; or #)") == STATUS_OK;
}

/* Where a piece of at most PIECE_BYTES - 1 bytes may end: between two characters that inih would neither trim nor take
 * for a comment.  0: nowhere. */
static size_t piece_end(const char *p)
{
    const size_t n = strlen(p);
    if (n < PIECE_BYTES) return n;
    for (size_t i = PIECE_BYTES - 1; i > 1; i--)
        if (!isspace((unsigned char)p[i - 1]) && !isspace((unsigned char)p[i]) && strchr(";#=:[", p[i]) == NULL &&
            strchr("=:", p[i - 1]) == NULL)
            return i;
    return 0;
}

/* inih's fgets: fills out with one piece of a line. */
static char *next_piece(char *out, int size, void *user)
{
    struct file *f = user;
    if (size < PIECE_BYTES + 2 || f->st != STATUS_OK) return NULL;
    f->piece = f->rest != NULL;
    if (f->rest == NULL) {
        if (!read_line(f)) return NULL;
        f->rest = f->line;
        if (f->line[0] == 0 || f->line[0] == ';' || f->line[0] == '#')
            f->line[0] = 0;
        else if (!line_valid(f))
            return NULL;
    }
    const size_t n = piece_end(f->rest);
    const bool headless = !f->piece && f->rest[n] != 0 && strcspn(f->rest, "=:") + 1 >= n;
    if ((n == 0 && f->rest[0] != 0) || headless) {
        (void)refuse(
            f, "a long value that cannot be taken apart; begin it within 190 bytes and leave no long blank in it");
        return NULL;
    }
    (void)snprintf(out, (size_t)size, "%s%.*s\n", f->piece ? " " : "", (int)n, f->rest);
    f->rest = f->rest[n] != 0 ? f->rest + n : NULL;
    return out;
}

enum status conf_load(struct conf *c, const char *path, struct err *e)
{
    struct file *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "%s: out of memory", path);
    f->c = c;
    f->path = path;
    f->in = fopen(path, "r");
    if (f->in == NULL) {
        f->st = ERR_SET(&f->err, STATUS_IO, "configuration %s: cannot be opened: %s", path, strerror(errno));
        goto out;
    }
    if (ini_parse_stream(next_piece, f, on_pair, f) != 0 && f->st == STATUS_OK)
        (void)refuse(f, "not understood near this line");
    finish_pair(f);
    (void)fclose(f->in);
out:
    if (f->st != STATUS_OK && e != NULL) *e = f->err;
    const enum status st = f->st;
    mem_free(f);
    return st;
}

/* ---- environment ---- */

/* Does the variable's name (n bytes after FRESHET_) stand for key's first key_n bytes: upper case, '.' and '-' as '_'? */
static bool names_key(const char *name, size_t n, const char *key, size_t key_n)
{
    if (key_n != n) return false;
    for (size_t i = 0; i < n; i++) {
        const char k = key[i] == '.' || key[i] == '-' ? '_' : (char)toupper((unsigned char)key[i]);
        if (name[i] != k) return false;
    }
    return true;
}

/* The key that the variable names, into key; false when it names none. */
static bool key_of(const struct conf *c, const char *name, size_t n, char key[CONF_KEY_MAX])
{
    static const char *const of_type[] = {"label", "weight", "template"};
    for (size_t i = 0; i < conf_n_keys; i++) {
        if (!names_key(name, n, conf_keys[i].key, strlen(conf_keys[i].key))) continue;
        (void)snprintf(key, CONF_KEY_MAX, "%s", conf_keys[i].key);
        return true;
    }
    for (uint32_t t = 0; t < c->n_types; t++) {
        for (size_t i = 0; i < 3; i++) {
            (void)snprintf(key, CONF_KEY_MAX, "type.%s.%s", c->types[t].name, of_type[i]);
            if (names_key(name, n, key, strlen(key))) return true;
        }
    }
    if (n <= 6 || n >= CONF_KEY_MAX || strncmp(name, "KAFKA_", 6) != 0) return false;
    for (size_t i = 0; i < n; i++) key[i] = name[i] == '_' ? '.' : (char)tolower((unsigned char)name[i]);
    key[n] = 0;
    return true;
}

/* Does the name begin like the keys of a section? */
static bool in_section(const char *name, size_t n)
{
    for (size_t i = 0; i < conf_n_keys; i++) {
        const size_t section = (size_t)(strchr(conf_keys[i].key, '.') - conf_keys[i].key) + 1;
        if (n > section && names_key(name, section, conf_keys[i].key, section)) return true;
    }
    return n > 5 && strncmp(name, "TYPE_", 5) == 0;
}

enum status conf_load_environment(struct conf *c, struct err *e)
{
    static const char prefix[] = "FRESHET_";
    struct err why = {0};
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        char key[CONF_KEY_MAX];
        const char *name = *at, *eq = strchr(name, '=');
        if (strncmp(name, prefix, sizeof prefix - 1) != 0 || eq == NULL) continue;
        name += sizeof prefix - 1;
        if (eq <= name) continue;
        if (!key_of(c, name, (size_t)(eq - name), key)) {
            if (!in_section(name, (size_t)(eq - name))) continue; /* somebody else's */
            return ERR_SET(e, STATUS_INVALID,
                           "environment %.*s: it names no key (freshet check --print-config-doc lists them)",
                           (int)(eq - *at), *at);
        }
        if (conf_set(c, key, eq + 1, &why) == STATUS_OK) continue;
        (void)err_prefix(&why, "environment %.*s", (int)(eq - *at), *at);
        if (e != NULL) *e = why;
        return why.code;
    }
    return STATUS_OK;
}
