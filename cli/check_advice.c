/* check_advice.c - see check_advice.h. */
#include "cli/check_advice.h"
#include <stddef.h>
#include <string.h>

static const struct {
    const char *reason, *advice;
} table[] = {
    {"too_long", "raise ingest.max_bytes if such messages are right, else mend their producer"},
    {"bad_json", "mend the producer; single messages can be mended in value_base64 and tried again"},
    {"bad_utf8", "the producer must write UTF-8"},
    {"duplicate_key", "the producer names a key twice: which one counts is not for us to guess"},
    {"not_object", "one JSON object a message: a list of events must be split by its producer"},
    {"too_deep", "the producer nests deeper than an event can be: flatten it"},
    {"unknown_type",
     "declare it (type.NAME.label, in a new state folder), or make it a type that is known and try these again"},
    {"missing_time", "each event needs `time`; map the field that holds it with ingest.map"},
    {"bad_time", "RFC 3339 or milliseconds since 1970"},
    {"time_seconds", "the producer sends seconds: multiply by 1000"},
    {"time_range", "a time outside 1970 to 9999: the producer's clock or unit is wrong"},
    {"time_jump",
     "a producer's clock runs ahead; if the times are right raise ingest.max_jump_ms, then try these again"},
    {"too_many_items", "show fewer items in one impression, or send it as several"},
    {"catalogue_full", "raise catalogue.items in a new state folder, or remove items with \"deleted\":true"},
    {"anomaly",
     "their source alone changed what the stream is like: see what is wrong with it; letters that are right can be "
     "tried again"},
    {"csv_columns", "the file's rows do not agree with its header"},
    {"csv_quote", "quotes as RFC 4180 has them"},
};

const char *cmd_check_advice(const char *reason)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].reason, reason) == 0) return table[i].advice;
    return "mend the producer or the map (ingest.map), then try these again";
}
