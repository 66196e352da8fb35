/* conf_document.c - what is printed from the table: the effective configuration, CONFIG.md, the meaning of a state. */
#include "schemas/conf_table.h"
#include "schemas/conf_variant.h"
#include "schemas/event_json.h"
#include <string.h>

void conf_value_text(struct buf *b, const struct conf *c, const struct conf_key *k)
{
    const void *at = (const char *)c + k->offset;
    switch (k->kind) {
    case CONF_KIND_INT: buf_printf(b, "%lld", (long long)*(const int64_t *)at); return;
    case CONF_KIND_NUM: event_json_number(b, *(const double *)at); return;
    case CONF_KIND_BOOL: buf_printf(b, "%s", *(const bool *)at ? "true" : "false"); return;
    case CONF_KIND_TEXT:
    case CONF_KIND_WORD: break;
    }
    buf_printf(b, "%s", (const char *)at);
}

static size_t section_length(const struct conf_key *k)
{
    return strcspn(k->key, ".");
}

static bool same_section(const struct conf_key *a, const struct conf_key *b)
{
    const size_t n = section_length(a);
    return n == section_length(b) && memcmp(a->key, b->key, n) == 0;
}

/* ---- effective configuration ---- */

/* Properties of librdkafka that hold secrets: not printed. */
static bool is_secret(const char *key)
{
    static const char *const parts[] = {"password", "secret", "jaas", ".pem", "sasl.oauthbearer.config", "basic.auth"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(key, parts[i]) != NULL) return true;
    return false;
}

static void dump_types(const struct conf *c, struct buf *b)
{
    for (uint32_t i = 0; i < c->n_types; i++) {
        const struct conf_type *t = &c->types[i];
        buf_printf(b, "\n[type.%s]\nlabel = %s\nweight = ", t->name, conf_label_name(t->label));
        event_json_number(b, t->weight);
        buf_printf(b, "\ntemplate = %s\n", t->template_text);
    }
}

void conf_dump(const struct conf *c, struct buf *b)
{
    for (size_t i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        const size_t n = section_length(k);
        if (i == 0 || !same_section(k, k - 1)) buf_printf(b, "%s[%.*s]\n", i > 0 ? "\n" : "", (int)n, k->key);
        buf_printf(b, "%s = ", k->key + n + 1);
        conf_value_text(b, c, k);
        buf_u8(b, '\n');
    }
    dump_types(c, b);
    conf_variants_dump(c, b);
    if (c->n_kafka == 0) return;
    buf_printf(b, "\n[kafka]\n");
    for (size_t i = 0; i < c->n_kafka; i++) {
        if (is_secret(c->kafka[i].key))
            buf_printf(b, "; %s is set and not shown\n", c->kafka[i].key);
        else
            buf_printf(b, "%s = %s\n", c->kafka[i].key, c->kafka[i].value);
    }
}

static void meaning_of_types(const struct conf *c, struct buf *b)
{
    for (uint32_t i = 0; i < c->n_types; i++) {
        const struct conf_type *t = &c->types[i];
        buf_printf(b, "type.%s.label=%s\ntype.%s.weight=", t->name, conf_label_name(t->label), t->name);
        event_json_number(b, t->weight);
        buf_printf(b, "\ntype.%s.template=%s\n", t->name, t->template_text);
    }
}

void conf_meaning(const struct conf *c, struct buf *b)
{
    for (size_t i = 0; i < conf_n_keys; i++) {
        if (strchr(conf_keys[i].flags, 'S') == NULL) continue;
        buf_printf(b, "%s=", conf_keys[i].key);
        conf_value_text(b, c, &conf_keys[i]);
        buf_u8(b, '\n');
    }
    meaning_of_types(c, b);
}

/* What each of several processes has for itself: where it stands, what it runs on, what only rank 0 does. */
static bool is_a_ranks_own(const char *key)
{
    /* clang-format off */
    static const char *const begins[] = {
        "state.", "redis.", "publish.", "serving.", "rank.", "model.base", "ingest.dead_letters", "ingest.queue", "train.rank",
        "kernels.threads", "kernels.pin", "kernels.cache_bytes", "kernels.states_dir", "kernels.device", "kernels.plugin",
        "kernels.plans_dir"};
    /* clang-format on */
    if (strcmp(key, "train.ranks") == 0 || strcmp(key, "train.ranks_reduce") == 0) return false;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(key, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

void conf_common(const struct conf *c, struct buf *b)
{
    for (size_t i = 0; i < conf_n_keys; i++) {
        if (is_a_ranks_own(conf_keys[i].key)) continue;
        buf_printf(b, "%s=", conf_keys[i].key);
        conf_value_text(b, c, &conf_keys[i]);
        buf_u8(b, '\n');
    }
    meaning_of_types(c, b);
    conf_variants_dump(c, b);
}

/* ---- CONFIG.md ---- */

/* A bar inside a table cell must be escaped. */
static void put_cell(struct buf *b, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '|') buf_u8(b, '\\');
        if (*text == '<') {
            buf_printf(b, "&lt;");
            continue;
        }
        buf_u8(b, (uint8_t)*text);
    }
}

static void put_range(struct buf *b, const struct conf_key *k)
{
    switch (k->kind) {
    case CONF_KIND_INT: buf_printf(b, "%.0f … %.0f", k->lo, k->hi); return;
    case CONF_KIND_NUM: buf_printf(b, "%g … %g", k->lo, k->hi); return;
    case CONF_KIND_BOOL: buf_printf(b, "true, false"); return;
    case CONF_KIND_TEXT: buf_printf(b, "text, ≤ %.0f bytes", k->hi); return;
    case CONF_KIND_WORD: break;
    }
    put_cell(b, k->unit);
}

static void put_row(struct buf *b, const struct conf_key *k)
{
    buf_printf(b, "| `%s` | ", k->key);
    const size_t before = b->n;
    buf_u8(b, '`');
    conf_value_text(b, conf_defaults(), k);
    if (!b->oom && b->n == before + 1) {
        b->n = before;
        buf_printf(b, "(empty)");
    } else {
        buf_u8(b, '`');
    }
    buf_printf(b, " | ");
    put_range(b, k);
    buf_printf(b, " | %s | %s%s | ", k->kind == CONF_KIND_WORD ? "" : k->unit, strchr(k->flags, 'S') ? "state" : "",
               strchr(k->flags, 'L') ? "live" : "");
    put_cell(b, k->text);
    buf_printf(b, " |\n");
}

static const char head[] =
    "# Configuration\n"
    "\n"
    "This file is generated from the table in `schemas/conf.h` by `freshet check --print-config-doc`; a test compares "
    "the\n"
    "two. Do not edit it.\n"
    "\n"
    "Keys are `section.key`. A value is taken from the default, then the INI file given with `--config`, then the\n"
    "environment (`FRESHET_SECTION_KEY`, as in `FRESHET_TRAIN_SEED=3`; `FRESHET_KAFKA_BOOTSTRAP_SERVERS` for\n"
    "`kafka.bootstrap.servers`), then `-o section.key=value`; the later wins. Unknown keys are errors that name\n"
    "`path:line` and the nearest known key. Durations are whole numbers with the unit in the key. In a file, `;` after "
    "a\n"
    "blank begins a comment, as do `;` and `#` at the start of a line. `freshet check --print-config` prints what is "
    "in\n"
    "force.\n"
    "\n"
    "The column *kind*: `state` marks keys that belong to what a state folder means; a resume that changes one is "
    "refused,\n"
    "naming it. `live` marks keys that may change under a running job. All others take effect at the next start.\n";

static const char types_text[] =
    "\n## type.NAME\n"
    "\n"
    "What a behaviour means. The section is `[type.NAME]`; new names make new types (at most 32 in all, names of 1 to "
    "63\n"
    "bytes; `item`, `user` and `impression` are not behaviours). All of it belongs to the state.\n"
    "\n"
    "| key | default | range | meaning |\n"
    "|---|---|---|---|\n"
    "| `type.NAME.label` | below; `none` for new types | positive, negative, none | what the behaviour says about the "
    "item it "
    "names |\n"
    "| `type.NAME.weight` | `1` | 0 … 1000 | weight of its examples in the loss |\n"
    "| `type.NAME.template` | (empty) | text, ≤ 511 bytes | sentence of such an event; empty: the shipped template of "
    "that "
    "type |\n"
    "\n"
    "Built-in labels: ";

static const char variants_text[] =
    "\n## variant.NAME\n"
    "\n"
    "A challenger that learns from the same stream beside the base configuration, which is called `default`. The section is "
    "`[variant.NAME]`\n"
    "(at most 7 of them, names of 1 to 32 letters, digits, `_` and `-`). It may change `train.*` and `model.parts`, "
    "`trainable_layers`,\n"
    "`user_view`, `item_view`, `dropout`, `hashed_bits` and `concat_tokens`; all else is shared. Variants may be added to and "
    "taken from a\n"
    "state folder; changing the keys of one that is there is refused.\n"
    "\n"
    "| key | default | range | kind | meaning |\n"
    "|---|---|---|---|---|\n"
    "| `variant.NAME.share` | `0` | 0 … below 1 in all | live | share of the users, by a stable hash of their id, that "
    "scorers answer with it; the rest gets the one in charge |\n"
    "| `variant.NAME.shadow` | `false` | true, false | live | scored for every request after the answer, logged, never "
    "served; its share does not count |\n"
    "| `variant.NAME.train.*`, `variant.NAME.model.parts`, … | the base's | as the key | state | what this variant learns "
    "otherwise |\n";

static const char kafka_text[] =
    "\n## kafka.*\n"
    "\n"
    "Any property of librdkafka, handed over untouched: `kafka.bootstrap.servers`, `kafka.group.id`,\n"
    "`kafka.security.protocol` and so on. Properties that hold secrets are left out of `freshet check "
    "--print-config`.\n";

void conf_document(struct buf *b)
{
    buf_printf(b, "%s", head);
    for (size_t i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        if (i == 0 || !same_section(k, k - 1))
            buf_printf(b, "\n## %.*s\n\n| key | default | range | unit | kind | meaning |\n|---|---|---|---|---|---|\n",
                       (int)section_length(k), k->key);
        put_row(b, k);
    }
    buf_printf(b, "%s", types_text);
    for (int t = 0; t < EVENT_TYPES_BUILTIN; t++)
        buf_printf(b, "%s`%s` %s", t > 0 ? ", " : "", conf_builtin_name(t), conf_label_name(conf_builtin_label(t)));
    buf_printf(b, ".\n%s%s", variants_text, kafka_text);
}
