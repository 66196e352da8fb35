/* eval_logged.c - see eval_logged.h. */
#include "trainer/eval_logged.h"
#include <stdio.h>
#include <string.h>

_Static_assert(CONF_LINES_MAX <= REPORT_VARIANTS_MAX, "a report has room for every line");

/* Its place, made when it is newer than the oldest of a full set; NULL: it is not. */
static struct eval_served *version_of(struct eval_logged *v, uint64_t version)
{
    uint32_t i = v->n_versions;
    while (i > 0 && v->versions[i - 1].version > version) i--;
    if (i > 0 && v->versions[i - 1].version == version) return &v->versions[i - 1].served;
    if (v->n_versions == EVAL_LOGGED_VERSIONS) {
        if (i == 0) return NULL;
        memmove(&v->versions[0], &v->versions[1], --i * sizeof v->versions[0]); /* the oldest gives way */
    } else {
        memmove(&v->versions[i + 1], &v->versions[i], (v->n_versions++ - i) * sizeof v->versions[0]);
    }
    memset(&v->versions[i], 0, sizeof v->versions[i]);
    v->versions[i].version = version;
    return &v->versions[i].served;
}

void eval_logged_add(struct eval_logged *v, size_t line, uint64_t version, const struct eval_terms *t,
                     const struct eval_served_room *room)
{
    struct eval_served *its = version_of(v, version);
    v->joined++;
    eval_served_add(&v->all, t, room);
    if (line < CONF_LINES_MAX) eval_served_add(&v->lines[line], t, room);
    if (its != NULL) eval_served_add(its, t, room);
}

void eval_logged_report(const struct eval_logged *v, const struct conf *c, struct report_logged *out)
{
    memset(out, 0, sizeof *out);
    out->answers = v->answers;
    out->joined = v->joined;
    out->unmatched = v->unmatched;
    out->checked = v->checked;
    out->items = v->items;
    out->equal = v->equal;
    eval_served_report(&v->all, &out->all);
    eval_skew_report(&v->same, &out->same);
    for (size_t i = 0; i < conf_lines(c); i++) {
        if (v->lines[i].lists == 0) continue;
        (void)snprintf(out->line_names[out->n_lines], sizeof out->line_names[0], "%s", conf_line_name(c, i));
        eval_served_report(&v->lines[i], &out->lines[out->n_lines++]);
    }
    for (; out->n_versions < v->n_versions; out->n_versions++) {
        out->version_numbers[out->n_versions] = v->versions[out->n_versions].version;
        eval_served_report(&v->versions[out->n_versions].served, &out->versions[out->n_versions]);
    }
}

void eval_logged_encode(struct buf *b, const struct eval_logged *v, const struct conf *c)
{
    const uint64_t counts[] = {v->answers, v->joined, v->unmatched, v->checked, v->items, v->equal};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) buf_varint(b, counts[i]);
    eval_served_encode(b, &v->all);
    eval_skew_encode(b, &v->same);
    buf_varint(b, conf_lines(c));
    for (size_t i = 0; i < conf_lines(c); i++) {
        buf_str(b, str_from(conf_line_name(c, i)));
        eval_served_encode(b, &v->lines[i]);
    }
    buf_varint(b, v->n_versions);
    for (uint32_t i = 0; i < v->n_versions; i++) {
        buf_varint(b, v->versions[i].version);
        eval_served_encode(b, &v->versions[i].served);
    }
}

static void lines_decode(struct eval_logged *v, const struct conf *c, struct buf_reader *r)
{
    struct eval_served gone; /* one of a line that is no more */
    const uint64_t n = buf_get_varint(r);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        const size_t line = conf_line_find(c, buf_get_str(r));
        eval_served_decode(line < CONF_LINES_MAX ? &v->lines[line] : &gone, r);
    }
}

enum status eval_logged_decode(struct eval_logged *v, const struct conf *c, struct buf_reader *r, struct err *e)
{
    uint64_t *const counts[] = {&v->answers, &v->joined, &v->unmatched, &v->checked, &v->items, &v->equal};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) *counts[i] = buf_get_varint(r);
    eval_served_decode(&v->all, r);
    eval_skew_decode(&v->same, r);
    lines_decode(v, c, r);
    const uint64_t n = buf_get_varint(r);
    if (r->bad || n > EVAL_LOGGED_VERSIONS) return ERR_SET(e, STATUS_CORRUPT, "figures of what was served");
    for (v->n_versions = 0; v->n_versions < n; v->n_versions++) {
        v->versions[v->n_versions].version = buf_get_varint(r);
        eval_served_decode(&v->versions[v->n_versions].served, r);
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "figures of what was served are cut short") : STATUS_OK;
}
