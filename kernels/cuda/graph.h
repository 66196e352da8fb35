/* graph.h - work that comes again with the same arguments: recorded once, and put on the stream in one call afterwards.
 *
 * A row of launches costs the host more than small ones cost the device.  What is done is told by a key, every byte of which
 * decides (pointers, sizes); the least recently used of CUDA_GRAPHS is forgotten.  The first time work is queued as it is
 * (libraries load what they need), the second time it is recorded.  Where recording fails it is said once, and nothing is
 * recorded again.
 */
#ifndef KERNELS_CUDA_GRAPH_H
#define KERNELS_CUDA_GRAPH_H
#include "kernels/cuda/cuda.h"

#define CUDA_GRAPHS 32

struct cuda_graph_key {
    uint64_t what; /* a hash of what else the launches are made of */
    const void *pointers[3];
    size_t sizes[4];
};
/* Queues what work(c, user) queues, and returns what it returns; false means that it may not have been queued whole.  work makes
 * only launches, no copies from or to the host, and grows nothing. */
bool cuda_graph_run(struct cuda *c, const struct cuda_graph_key *key, bool (*work)(struct cuda *c, void *user), void *user);
void cuda_graphs_close(struct cuda *c);
#endif
