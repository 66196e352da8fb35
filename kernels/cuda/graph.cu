/* graph.cu - see graph.h. */
#include "kernels/cuda/graph.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cuda_graph { /* c->graphs: CUDA_GRAPHS of them */
    struct cuda_graph_key key;
    cudaGraphExec_t ready; /* NULL: seen once */
    uint64_t used;         /* 0: free; else when */
};

static struct cuda_graph *find(struct cuda *c, const struct cuda_graph_key *key)
{
    struct cuda_graph *oldest = &c->graphs[0];
    for (size_t i = 0; i < CUDA_GRAPHS; i++) {
        struct cuda_graph *g = &c->graphs[i];
        if (g->used > 0 && memcmp(&g->key, key, sizeof *key) == 0) return g;
        if (g->used < oldest->used) oldest = g;
    }
    if (oldest->ready != NULL) (void)cudaGraphExecDestroy(oldest->ready); /* what is under way is finished first */
    memset(oldest, 0, sizeof *oldest);
    oldest->key = *key;
    return oldest;
}

/* What work queues, as something to launch; NULL, and why: it cannot be had. */
static cudaGraphExec_t record(struct cuda *c, bool (*work)(struct cuda *c, void *user), void *user, cudaError_t *why)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t ready = NULL;
    const bool failed = c->failed;
    *why = cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal);
    if (*why != cudaSuccess) return NULL;
    const bool whole = work(c, user);
    *why = cudaStreamEndCapture(c->stream, &graph);
    if (whole && *why == cudaSuccess) *why = cudaGraphInstantiate(&ready, graph, 0);
    if (graph != NULL) (void)cudaGraphDestroy(graph);
    if (ready == NULL) c->failed = failed; /* nothing has run: what went wrong was the recording */
    return ready;
}

static void give_up(struct cuda *c, cudaError_t why)
{
    (void)fprintf(stderr, "freshet: cuda: launches can't be recorded (%s): they go one by one\n", cudaGetErrorString(why));
    (void)cudaGetLastError();
    c->no_graphs = true;
}

bool cuda_graph_run(struct cuda *c, const struct cuda_graph_key *key, bool (*work)(struct cuda *c, void *user), void *user)
{
    if (c->no_graphs) return work(c, user);
    if (c->graphs == NULL) c->graphs = (struct cuda_graph *)calloc(CUDA_GRAPHS, sizeof *c->graphs);
    if (c->graphs == NULL) return work(c, user);
    struct cuda_graph *g = find(c, key);
    const bool again = g->used > 0;
    g->used = ++c->graph_turns;
    if (!again) return work(c, user);
    cudaError_t why = cudaSuccess;
    if (g->ready == NULL) g->ready = record(c, work, user, &why);
    if (g->ready == NULL) {
        give_up(c, why);
        return work(c, user);
    }
    cuda_check(c, cudaGraphLaunch(g->ready, c->stream), "a recorded graph");
    return true;
}

void cuda_graphs_close(struct cuda *c)
{
    if (c->graphs != NULL && c->stream != NULL) (void)cudaStreamSynchronize(c->stream);
    for (size_t i = 0; c->graphs != NULL && i < CUDA_GRAPHS; i++)
        if (c->graphs[i].ready != NULL) (void)cudaGraphExecDestroy(c->graphs[i].ready);
    free(c->graphs);
    c->graphs = NULL;
}
