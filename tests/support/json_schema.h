/* json_schema.h - does a JSON text satisfy one of the schemas in schemas/json/?
 *
 * The subset of JSON Schema draft 2020-12 that those files use; a keyword that is not known here fails the test rather
 * than pass unread.  Strings are counted in characters.
 */
#ifndef TESTS_SUPPORT_JSON_SCHEMA_H
#define TESTS_SUPPORT_JSON_SCHEMA_H
#include <stdbool.h>
#include <stddef.h>

/* name: "report" for schemas/json/report.schema.json.  False: why says where and what (also for text that is no JSON). */
bool json_schema_accepts(const char *name, const char *text, size_t n, char why[300]);
#endif
