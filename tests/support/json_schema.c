/* json_schema.c - one recursive walk over schema and value, keyword by keyword. */
#include "tests/support/json_schema.h"
#include <jansson.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    json_t *root; /* of the schema */
    char path[200], *why;
};

static bool matches(struct check *c, json_t *schema, json_t *v);

static bool no(struct check *c, const char *keyword, const char *text)
{
    (void)snprintf(c->why, 300, "%s: %s %s", *c->path ? c->path : "/", keyword, text);
    return false;
}

static bool is_type(const char *type, const json_t *v)
{
    if (strcmp(type, "object") == 0) return json_is_object(v);
    if (strcmp(type, "array") == 0) return json_is_array(v);
    if (strcmp(type, "string") == 0) return json_is_string(v);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(v);
    if (strcmp(type, "null") == 0) return json_is_null(v);
    if (strcmp(type, "number") == 0) return json_is_number(v);
    return strcmp(type, "integer") == 0 && (json_is_integer(v) || floor(json_real_value(v)) == json_number_value(v)) &&
           json_is_number(v);
}

static bool check_type(struct check *c, json_t *k, json_t *v)
{
    size_t i;
    json_t *one;
    if (json_is_string(k)) return is_type(json_string_value(k), v) || no(c, "type", json_string_value(k));
    json_array_foreach(k, i, one)
    {
        if (is_type(json_string_value(one), v)) return true;
    }
    return no(c, "type", "none of the list");
}

/* Characters, not bytes (jansson gives valid UTF-8 only). */
static double length(json_t *v)
{
    size_t n = 0;
    for (const char *p = json_string_value(v); *p != 0; p++) n += ((unsigned char)*p & 0xc0) != 0x80;
    return (double)n;
}

/* Exact, for 64-bit integers too. */
static long double value_of(const json_t *v)
{
    return json_is_integer(v) ? (long double)json_integer_value(v) : (long double)json_number_value(v);
}

static bool check_bound(struct check *c, const char *word, long double k, json_t *v)
{
    const long double x = value_of(v);
    const bool number = json_is_number(v), text = json_is_string(v), list = json_is_array(v),
               object = json_is_object(v);
    bool good;
    if (strcmp(word, "minimum") == 0)
        good = !number || x >= k;
    else if (strcmp(word, "maximum") == 0)
        good = !number || x <= k;
    else if (strcmp(word, "exclusiveMinimum") == 0)
        good = !number || x > k;
    else if (strcmp(word, "minLength") == 0)
        good = !text || length(v) >= k;
    else if (strcmp(word, "maxLength") == 0)
        good = !text || length(v) <= k;
    else if (strcmp(word, "minItems") == 0)
        good = !list || (double)json_array_size(v) >= k;
    else if (strcmp(word, "maxItems") == 0)
        good = !list || (double)json_array_size(v) <= k;
    else if (strcmp(word, "maxProperties") == 0)
        good = !object || (double)json_object_size(v) <= k;
    else
        return no(c, "unknown keyword", word);
    return good || no(c, word, "is not kept");
}

static bool at(struct check *c, const char *name, json_t *schema, json_t *v)
{
    const size_t n = strlen(c->path);
    (void)snprintf(c->path + n, sizeof c->path - n, "/%.40s", name);
    const bool good = matches(c, schema, v);
    c->path[n] = 0;
    return good;
}

static bool check_members(struct check *c, json_t *schema, json_t *v)
{
    json_t *properties = json_object_get(schema, "properties"),
           *others = json_object_get(schema, "additionalProperties");
    json_t *required = json_object_get(schema, "required"), *one;
    const char *name;
    size_t i;
    if (!json_is_object(v)) return true;
    json_object_foreach(v, name, one)
    {
        json_t *own = json_object_get(properties, name);
        if (own == NULL) own = others;
        if (json_is_false(own)) return no(c, "additionalProperties", name);
        if (own != NULL && !at(c, name, own, one)) return false;
    }
    json_array_foreach(required, i, one)
    {
        if (json_object_get(v, json_string_value(one)) == NULL) return no(c, "required", json_string_value(one));
    }
    return true;
}

static bool check_items(struct check *c, json_t *k, json_t *v)
{
    size_t i;
    json_t *one;
    json_array_foreach(v, i, one)
    {
        char name[24];
        (void)snprintf(name, sizeof name, "%zu", i);
        if (!at(c, name, k, one)) return false;
    }
    return true;
}

static bool check_names(struct check *c, json_t *k, json_t *v)
{
    const char *name;
    json_t *one;
    json_object_foreach(v, name, one)
    {
        json_t *text = json_string(name);
        const bool good = matches(c, k, text);
        json_decref(text);
        if (!good) return false;
    }
    return true;
}

static bool check_any(struct check *c, json_t *k, json_t *v)
{
    size_t i;
    json_t *one;
    json_array_foreach(k, i, one)
    {
        if (matches(c, one, v)) return true;
    }
    return no(c, "anyOf", "none fits");
}

static bool check_pattern(struct check *c, json_t *k, json_t *v)
{
    regex_t r;
    if (!json_is_string(v)) return true;
    if (regcomp(&r, json_string_value(k), REG_EXTENDED | REG_NOSUB) != 0) return no(c, "pattern", "is none");
    const bool good = regexec(&r, json_string_value(v), 0, NULL, 0) == 0;
    regfree(&r);
    return good || no(c, "pattern", json_string_value(k));
}

static bool check_ref(struct check *c, const char *ref, json_t *v)
{
    static const char prefix[] = "#/$defs/";
    json_t *schema = NULL;
    if (strncmp(ref, prefix, sizeof prefix - 1) == 0)
        schema = json_object_get(json_object_get(c->root, "$defs"), ref + sizeof prefix - 1);
    return schema != NULL ? matches(c, schema, v) : no(c, "$ref to nothing", ref);
}

static bool is_silent(const char *word)
{
    static const char *const words[] = {"$schema", "$id",        "title",    "description",
                                        "$defs",   "properties", "required", "additionalProperties"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

static bool matches(struct check *c, json_t *schema, json_t *v)
{
    const char *word;
    json_t *k;
    json_object_foreach(schema, word, k)
    {
        bool good = true;
        if (strcmp(word, "type") == 0)
            good = check_type(c, k, v);
        else if (strcmp(word, "items") == 0)
            good = check_items(c, k, v);
        else if (strcmp(word, "propertyNames") == 0)
            good = check_names(c, k, v);
        else if (strcmp(word, "anyOf") == 0)
            good = check_any(c, k, v);
        else if (strcmp(word, "pattern") == 0)
            good = check_pattern(c, k, v);
        else if (strcmp(word, "$ref") == 0)
            good = check_ref(c, json_string_value(k), v);
        else if (!is_silent(word))
            good = check_bound(c, word, value_of(k), v);
        if (!good) return false;
    }
    return check_members(c, schema, v);
}

bool json_schema_accepts(const char *name, const char *text, size_t n, char why[300])
{
    const char *source = getenv("FRESHET_SOURCE");
    char path[600];
    json_error_t e;
    struct check c = {.why = why};
    (void)snprintf(path, sizeof path, "%s/schemas/json/%s.schema.json", source != NULL ? source : ".", name);
    c.root = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
    json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (v == NULL) v = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e); /* of any size */
    bool good = false;
    if (c.root == NULL)
        (void)snprintf(why, 300, "%.200s: no schema", path);
    else if (v == NULL)
        (void)snprintf(why, 300, "no JSON: %.200s", e.text);
    else
        good = matches(&c, c.root, v);
    json_decref(c.root);
    json_decref(v);
    return good;
}
