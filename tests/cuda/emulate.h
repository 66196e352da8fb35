/* emulate.h - between the files of the emulated device: memory's rights, and what was asked of the device so far.
 *
 * Tests find emulated_asked in the plug-in by its name, and read what has come to its counts.
 */
#ifndef TESTS_CUDA_EMULATE_H
#define TESTS_CUDA_EMULATE_H
#include <stddef.h>

/* Launches and copies of recordings count when they are recorded, not when they are played. */
struct emulated_counts {
    size_t waits;                       /* of the host, for a stream or an event */
    size_t launches, plays, recordings; /* kernels; recordings played, made */
    size_t up, down, between;           /* copies to the device, from it, within it (and memory set) */
    size_t device_rooms, pinned_rooms;  /* cudaMalloc, cudaMallocHost */
};
extern struct emulated_counts emulated;
__attribute__((visibility("default"))) const struct emulated_counts *emulated_asked(void);

void emulated_device_open(void); /* whoever touches device memory, one at a time */
void emulated_device_close(void);
#endif
