/* http_response.c - see http_response.h. */
#include "serving/http_response.h"
#include <microhttpd.h>
#include <string.h>

static struct MHD_Response *make(const struct http_reply *r, bool last)
{
    static const char no_memory[] = "{\"error\":{\"code\":\"out_of_memory\",\"message\":\"out of memory\"}}\n";
    const bool empty = r->body->n == 0 && r->status == 503;
    struct MHD_Response *m = MHD_create_response_from_buffer(empty ? sizeof no_memory - 1 : r->body->n,
                                                             empty ? (void *)(uintptr_t)no_memory : r->body->p,
                                                             MHD_RESPMEM_PERSISTENT); /* the exchange's */
    if (m == NULL) return NULL;
    (void)MHD_add_response_header(m, "Content-Type", r->type);
    (void)MHD_add_response_header(m, "Cache-Control", "no-store");
    (void)MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
    if (r->allow != NULL) (void)MHD_add_response_header(m, "Allow", r->allow);
    if (r->status == 401) (void)MHD_add_response_header(m, "WWW-Authenticate", "Bearer");
    if (r->status == 429 || r->status == 503) (void)MHD_add_response_header(m, "Retry-After", "1");
    if (last) (void)MHD_add_response_header(m, "Connection", "close");
    return m;
}

/* To the next of few sizes; where there is no memory for it the reply goes as it is. */
static void fill_up(struct buf *b)
{
    size_t step = 64;
    while (step * 16 < b->n) step *= 2;
    const size_t more = (step - b->n % step) % step;
    char *blanks = more > 0 ? buf_room(b, more) : NULL;
    if (blanks != NULL) memset(blanks, ' ', more);
}

/* The one for a body that is where and as long as this; made if there is none.  NULL: out of memory. */
static struct MHD_Response *find(struct http_responses *k, const struct http_reply *r)
{
    for (size_t i = 0; i < HTTP_RESPONSES_KEPT; i++)
        if (k->kept[i].response != NULL && k->kept[i].body == r->body->p && k->kept[i].n == r->body->n)
            return k->kept[i].response;
    struct MHD_Response *m = make(r, false);
    if (m == NULL) return NULL;
    struct http_response_kept *at = &k->kept[k->next];
    k->next = (k->next + 1) % HTTP_RESPONSES_KEPT;
    if (at->response != NULL) MHD_destroy_response(at->response);
    *at = (struct http_response_kept){m, r->body->p, r->body->n};
    return m;
}

bool http_response_queue(struct http_responses *kept, struct MHD_Connection *c, const struct http_reply *r, bool last)
{
    const bool again = r->usual && !last;
    if (again) fill_up(r->body);
    struct MHD_Response *m = again ? find(kept, r) : make(r, last);
    if (m == NULL) return false;
    const bool ok = MHD_queue_response(c, (unsigned)r->status, m) == MHD_YES;
    if (!again) MHD_destroy_response(m); /* the connection has its own count of it */
    return ok;
}

void http_responses_fini(struct http_responses *kept)
{
    for (size_t i = 0; i < HTTP_RESPONSES_KEPT; i++)
        if (kept->kept[i].response != NULL) MHD_destroy_response(kept->kept[i].response);
    memset(kept, 0, sizeof *kept);
}
