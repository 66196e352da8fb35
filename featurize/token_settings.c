/* token_settings.c - see token_settings.h */
#include "featurize/token_settings.h"
#include "base/mem.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status token_read_file(char **p, size_t *n, const char *dir, const char *name, struct err *e)
{
    char path[PATH_MAX];
    size_t cap = 0;
    enum status st = STATUS_OK;
    *p = NULL;
    *n = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return ERR_SET(e, STATUS_INVALID, "token: path of %s is longer than %d bytes", name, PATH_MAX);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return ERR_SET(e, errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO,
                       "token: cannot open %s: %s", path, strerror(errno));
    for (;;) {
        if (MEM_GROW(*p, &cap, *n + 65536) != 0) {
            st = ERR_SET(e, STATUS_OOM, "token: out of memory reading %s", path);
            break;
        }
        const size_t got = fread(*p + *n, 1, cap - *n - 1, f);
        *n += got;
        if (got == 0) break;
        if (*n > TOKEN_FILE_BYTES_MAX) {
            st = ERR_SET(e, STATUS_INVALID, "token: %s is larger than %zu bytes", path, TOKEN_FILE_BYTES_MAX);
            break;
        }
    }
    if (st == STATUS_OK && ferror(f)) st = ERR_SET(e, STATUS_IO, "token: cannot read %s: %s", path, strerror(errno));
    (void)fclose(f);
    if (st == STATUS_OK) {
        (*p)[*n] = '\0';
        return STATUS_OK;
    }
    mem_free(*p);
    *p = NULL;
    return st;
}

/* *out stays NULL when there is no such file. Integers are read as reals: an unset model_max_length is 1e30 there. */
static enum status load_json(json_t **out, const char *dir, const char *name, struct err *e)
{
    char *p = NULL;
    size_t n = 0;
    json_error_t je;
    const enum status st = token_read_file(&p, &n, dir, name, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    if (st != STATUS_OK) return st;
    *out = json_loadb(p, n, JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je);
    mem_free(p);
    if (*out == NULL && je.text[0] == '\0') /* jansson has words for every fault of the text, none for lack of memory */
        return ERR_SET(e, STATUS_OOM, "token: out of memory reading %s/%s", dir, name);
    if (!json_is_object(*out))
        return ERR_SET(e, STATUS_INVALID, "token: %s/%s line %d: %s", dir, name, *out ? 1 : je.line,
                       *out ? "not an object" : je.text);
    return STATUS_OK;
}

static struct str json_str(const json_t *v)
{
    return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)} : (struct str){0};
}

static bool read_bool(const json_t *object, const char *key, bool standard)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_boolean_value(v) : standard;
}

/* A special token is a string or {"content": …}; null and absent mean BERT's own name. */
static struct str special_name(const json_t *config, const char *key, const char *standard)
{
    const json_t *v = json_object_get(config, key);
    const struct str name = json_str(json_is_object(v) ? json_object_get(v, "content") : v);
    return name.p != NULL ? name : str_from(standard);
}

static bool type_is(const json_t *object, const char *key, const char *type)
{
    const struct str have = json_str(json_object_get(json_object_get(object, key), "type"));
    return have.p == NULL || str_is(have, type);
}

/* tokenizer_class decides who rules; one that is not WordPiece as BERT has it is refused. */
static enum status check_class(struct token_settings *s, const char *dir, struct err *e)
{
    static const char *const bert[] = {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer",
                                       "MobileBertTokenizer"};
    static const char *const generic[] = {"PreTrainedTokenizerFast", "TokenizersBackend"};
    struct str class = json_str(json_object_get(s->config, "tokenizer_class"));
    if (class.p == NULL) return STATUS_OK;
    for (size_t i = 0; i < sizeof generic / sizeof generic[0]; i++)
        if (str_is(class, generic[i])) s->generic = s->fast != NULL;
    if (s->generic || str_is(class, generic[0]) || str_is(class, generic[1])) return STATUS_OK;
    if (class.n > 4 && memcmp(class.p + class.n - 4, "Fast", 4) == 0) class.n -= 4;
    for (size_t i = 0; i < sizeof bert / sizeof bert[0]; i++)
        if (str_is(class, bert[i])) return STATUS_OK;
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "token: tokenizer_class " STR_FMT " in %s/tokenizer_config.json; only BERT's "
                   "WordPiece is known",
                   STR_ARG(class), dir);
}

/* single = [CLS] A [SEP] */
static bool template_is_bert(const struct token_settings *s)
{
    const json_t *post = json_object_get(s->fast, "post_processor");
    const json_t *single = json_object_get(post, "single");
    if (!json_is_object(post) || !str_is(json_str(json_object_get(post, "type")), "TemplateProcessing"))
        return !json_is_object(post) || type_is(s->fast, "post_processor", "BertProcessing");
    const json_t *first = json_object_get(json_array_get(single, 0), "SpecialToken");
    const json_t *last = json_object_get(json_array_get(single, 2), "SpecialToken");
    return json_array_size(single) == 3 && json_object_get(json_array_get(single, 1), "Sequence") != NULL &&
           str_eq(json_str(json_object_get(first, "id")), s->special[TOKEN_CLS]) &&
           str_eq(json_str(json_object_get(last, "id")), s->special[TOKEN_SEP]);
}

static enum status check_chain(const struct token_settings *s, const char *dir, struct err *e)
{
    const json_t *prefix = json_object_get(json_object_get(s->fast, "model"), "continuing_subword_prefix");
    const char *wrong = NULL;
    if (s->fast == NULL) return STATUS_OK;
    if (!type_is(s->fast, "model", "WordPiece")) wrong = "model";
    if (!type_is(s->fast, "normalizer", "BertNormalizer")) wrong = "normalizer";
    if (!type_is(s->fast, "pre_tokenizer", "BertPreTokenizer")) wrong = "pre_tokenizer";
    if (!template_is_bert(s)) wrong = "post_processor";
    if (json_is_string(prefix) && !str_is(json_str(prefix), "##")) wrong = "model.continuing_subword_prefix";
    if (wrong == NULL) return STATUS_OK;
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "token: \"%s\" in %s/tokenizer.json is not BERT's; only BertNormalizer, "
                   "BertPreTokenizer, WordPiece with ##, and [CLS] A [SEP] are known",
                   wrong, dir);
}

static enum status read_rules(struct token_settings *s, struct err *e)
{
    const json_t *norm = json_object_get(s->fast, "normalizer");
    const json_t *chars = json_object_get(json_object_get(s->fast, "model"), "max_input_chars_per_word");
    const json_t *from = s->generic ? norm : s->config;
    s->rules.lower = read_bool(from, s->generic ? "lowercase" : "do_lower_case", true);
    s->rules.strip = read_bool(from, "strip_accents", s->rules.lower);
    s->rules.han = read_bool(from, s->generic ? "handle_chinese_chars" : "tokenize_chinese_chars", true);
    s->rules.clean = s->generic ? read_bool(norm, "clean_text", true) : true;
    s->word_chars = 100;
    if (!s->generic || !json_is_number(chars)) return STATUS_OK;
    const double n = json_number_value(chars);
    if (!(n >= 1 && n <= TOKEN_WORD_CHARS_MAX))
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "token: max_input_chars_per_word %g in tokenizer.json; 1 to %d are possible", n,
                       TOKEN_WORD_CHARS_MAX);
    s->word_chars = (size_t)n;
    return STATUS_OK;
}

/* The lesser of what tokenizer and model take; a missing or endless one does not count. */
static size_t read_length(const struct token_settings *s)
{
    const double a = json_number_value(json_object_get(s->config, "model_max_length"));
    const double b = json_number_value(json_object_get(s->model, "max_position_embeddings"));
    size_t length = 0;
    if (a >= 2 && a <= TOKEN_TEXT_BYTES_MAX) length = (size_t)a;
    if (b >= 2 && b <= TOKEN_TEXT_BYTES_MAX && (length == 0 || (size_t)b < length)) length = (size_t)b;
    return length ? length : TOKEN_LENGTH_DEFAULT;
}

enum status token_settings_open(struct token_settings *s, const char *dir, struct err *e)
{
    static const char *const keys[] = {"pad_token", "unk_token", "cls_token", "sep_token", "mask_token"};
    static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    memset(s, 0, sizeof *s);
    TRY(load_json(&s->config, dir, "tokenizer_config.json", e));
    TRY(load_json(&s->fast, dir, "tokenizer.json", e));
    TRY(load_json(&s->model, dir, "config.json", e));
    for (int i = 0; i < TOKEN_SPECIALS; i++) s->special[i] = special_name(s->config, keys[i], names[i]);
    TRY(check_class(s, dir, e));
    TRY(check_chain(s, dir, e));
    TRY(read_rules(s, e));
    s->max_length = read_length(s);
    s->vocab = json_object_get(json_object_get(s->fast, "model"), "vocab");
    return STATUS_OK;
}

void token_settings_close(struct token_settings *s)
{
    json_decref(s->config);
    json_decref(s->fast);
    json_decref(s->model);
    memset(s, 0, sizeof *s);
}

typedef enum status added_fn(void *user, struct str text, int32_t id, bool special, struct err *e);

/* lstrip and rstrip only eat white space, which no word holds anyway. */
static enum status one_added(const json_t *t, double id, added_fn *fn, void *user, struct err *e)
{
    const struct str text = json_str(json_object_get(t, "content"));
    if (text.p == NULL || text.n == 0 || text.n > TOKEN_TEXT_MAX)
        return ERR_SET(e, STATUS_INVALID, "token: an added token without \"content\" of 1 to %d bytes", TOKEN_TEXT_MAX);
    if (!(id >= 0 && id < TOKEN_VOCAB_MAX))
        return ERR_SET(e, STATUS_INVALID, "token: added token \"" STR_FMT "\" has id %g; 0 to %d are possible",
                       STR_ARG(text), id, TOKEN_VOCAB_MAX - 1);
    const bool special = read_bool(t, "special", false);
    if (read_bool(t, "single_word", false) || read_bool(t, "normalized", !special))
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "token: added token \"" STR_FMT "\" is single_word or normalized; make it "
                       "a vocabulary entry, or set both to false",
                       STR_ARG(text));
    return fn(user, text, (int32_t)id, special, e);
}

static enum status each_named(const json_t *list, added_fn *fn, void *user, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *t = json_array_get(list, i);
        const struct str text = json_str(json_is_object(t) ? json_object_get(t, "content") : t);
        if (text.n > 0 && text.n <= TOKEN_TEXT_MAX) TRY(fn(user, text, -1, true, e));
    }
    return STATUS_OK;
}

enum status token_settings_each_added(const struct token_settings *s, added_fn *fn, void *user, struct err *e)
{
    json_t *by_id = json_object_get(s->config, "added_tokens_decoder");
    json_t *list = json_object_get(s->fast, "added_tokens"), *t;
    const char *id;
    size_t i;
    for (int k = 0; k < TOKEN_SPECIALS; k++) TRY(fn(user, s->special[k], -1, true, e));
    json_object_foreach(by_id, id, t) TRY(one_added(t, strtod(id, NULL), fn, user, e));
    if (!json_is_object(by_id))
        json_array_foreach(list, i, t) TRY(one_added(t, json_number_value(json_object_get(t, "id")), fn, user, e));
    TRY(each_named(json_object_get(s->config, "additional_special_tokens"), fn, user, e));
    return each_named(json_object_get(s->config, "extra_special_tokens"), fn, user, e);
}
