/* kern_bridge.h - a backend whose memory is apart, for tests that give it host memory: every operation copies what it reads
 * there, runs, and copies what it writes back.
 *
 * So the table tests of kernels/, which are written on host memory, run on any backend.  Memory behind what an operation
 * may write is checked too: it must come back as it was.
 */
#ifndef TESTS_SUPPORT_KERN_BRIDGE_H
#define TESTS_SUPPORT_KERN_BRIDGE_H
#include "kernels/kern.h"

/* Takes far over; kern_free frees both.  One bridge at a time in a process. */
struct kern *kern_bridge(struct kern *far);
#endif
