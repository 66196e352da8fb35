/* queue.h - all that is put on the stream of a struct kern: lists of commands, and recordings of those that come again.
 *
 * A row of launches costs the host more than small ones cost the device.  What is put between two waits of the host is a list: every
 * command with all its bytes (kernel, pointers, sizes).  As long as a list agrees with one that was there before nothing is launched;
 * where it ends as that one did it is a CUDA graph, recorded the second time and played from then on in one call.  Where it departs
 * from all that were, what was held back is launched, and the rest as it comes: so what never comes again loses nothing.
 *
 * Numbers from the host are no part of a list, but how many go where is.  They wait in pinned memory, go to the device in one copy
 * before a recording is played, and are put where they belong by commands in it.  The least recently used of CUDA_LISTS lists is
 * forgotten, of those that were not played for long if there is one.  Where recording fails it is said once, and nothing is recorded again.
 */
#ifndef KERNELS_CUDA_QUEUE_H
#define KERNELS_CUDA_QUEUE_H
#include "kernels/cuda/cuda.h"

#define CUDA_LISTS 64

bool cuda_queue_open(struct cuda *c); /* false: no pinned memory, or no host memory */
void cuda_queue_close(struct cuda *c);
/* Of what comes between them a list is made that may be long; on both ends one ends. */
void cuda_queue_begin(struct cuda *c);
void cuda_queue_end(struct cuda *c);
#endif
