/* launch.h - how kernels are written here: in the common part of CUDA and C, one struct of arguments each.
 *
 *   KERNEL(name, struct args) { … a.x … }        threads that do not wait for each other
 *   KERNEL_TOGETHER(name, struct args) { … }     threads of a block that do (BLOCK_WAIT, WARP_WAIT, LANE_XOR, LANE_OF)
 *   LAUNCH(c, name, grid, block, &args)          put on c's stream; args has no holes (fields of 8 bytes, or of 4 in pairs), since
 *                                                lists of launches are compared as bytes (queue.h)
 *   TENSOR_MMA(c, a, b)                          c (16,8) += a (16,16) b (16,8) of a warp: bfloat16 pairs, float32 sums, each
 *                                                thread with its share (PTX ISA, "mma.m16n8k16"); UNROLL stands before a loop
 *
 * So every kernel also compiles for the host, where tests/cuda/ runs it thread by thread against `ref`.  Sums are in a fixed
 * order: no atomics anywhere.  A warp is 32 lanes; a kernel that uses LANE_XOR keeps whole warps together.
 */
#ifndef KERNELS_CUDA_LAUNCH_H
#define KERNELS_CUDA_LAUNCH_H
#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#define WARP 32u
#define BLOCK 256u           /* threads of a block, where nothing else is said */
#define WARPS (BLOCK / WARP) /* of such a block */

#ifdef __CUDACC__
#define KERNEL(name, type) static __global__ void name(const type a)
#define KERNEL_TOGETHER(name, type) static __global__ void __launch_bounds__(BLOCK) name(const type a)
#define LAUNCH_OF(name) ((const void *)(name))
#define BLOCK_WAIT() __syncthreads()
#define LANE_XOR(v, mask) __shfl_xor_sync(0xffffffffu, (v), (mask))
#define LANE_OF(v, lane) __shfl_sync(0xffffffffu, (v), (lane))
#define WARP_WAIT() __syncwarp()
#define TENSOR_MMA(c, a, b)                                                                                            \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "         \
                 "{%0,%1,%2,%3};"                                                                                      \
                 : "+f"((c)[0]), "+f"((c)[1]), "+f"((c)[2]), "+f"((c)[3])                                              \
                 : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
#define UNROLL _Pragma("unroll")
#define MAY_ALIAS
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
#endif

#define LAUNCH(c, name, grid, block, args)                                                                             \
    cuda_put_kernel((c), LAUNCH_OF(name), (size_t)(grid), (block), (args), sizeof *(args), #name)

/* The thread's place in the whole grid, and of its warp. */
#define THREAD ((size_t)blockIdx.x * blockDim.x + threadIdx.x)
#define WARP_INDEX (THREAD / WARP)
#define LANE (threadIdx.x % WARP)

static inline size_t launch_blocks(size_t threads, size_t block)
{
    return (threads + block - 1) / block;
}
#endif
