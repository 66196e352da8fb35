/* vec.h - one machine vector of floats, as wide as the file that includes this is compiled for (16, 8 or 4 lanes).
 *
 * The loops are written once over these and compiled once per instruction set.  Arithmetic is the compiler's vector
 * extension; intrinsics stand only where C has no operator (fused multiply-add, square root, sums across lanes).
 * max and min give their second argument when one is NaN, so a clamp written as vec_max(limit, x) lets NaN through.
 */
#ifndef KERNELS_CPU_VEC_H
#define KERNELS_CPU_VEC_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VEC_W 16
#elif defined(__AVX2__)
#define VEC_W 8
#else
#define VEC_W 4
#endif
#define VEC_BYTES (VEC_W * 4)
#define VEC_INLINE static inline __attribute__((always_inline, unused))

typedef float vec __attribute__((vector_size(VEC_BYTES)));
typedef int32_t veci __attribute__((vector_size(VEC_BYTES)));
typedef float vec_any __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

VEC_INLINE vec vec_set(float x)
{
    return x - (vec){0};
}
VEC_INLINE vec vec_load(const float *p)
{
    return *(const vec_any *)p;
}
VEC_INLINE void vec_store(float *p, vec v)
{
    *(vec_any *)p = v;
}
/* The first n < VEC_W lanes; the rest are 0, and are not stored. */
VEC_INLINE vec vec_load_part(const float *p, size_t n)
{
#if VEC_W == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
    vec v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
#endif
}
VEC_INLINE void vec_store_part(float *p, vec v, size_t n)
{
#if VEC_W == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#else
    memcpy(p, &v, n * sizeof *p);
#endif
}
VEC_INLINE vec vec_bits(veci v)
{
    vec r;
    memcpy(&r, &v, sizeof r);
    return r;
}
VEC_INLINE veci vec_int(vec v)
{
    veci r;
    memcpy(&r, &v, sizeof r);
    return r;
}
VEC_INLINE vec vec_select(veci mask, vec yes, vec no)
{
    return vec_bits((mask & vec_int(yes)) | (~mask & vec_int(no)));
}

/* Each lane rounded to the nearest bfloat16, ties to even; NaN stays NaN. */
VEC_INLINE vec vec_rounded(vec x)
{
    const veci u = vec_int(x);
    const veci r = (u + 0x7fff + ((u >> 16) & 1)) & (int32_t)0xffff0000;
    return vec_select(x == x, vec_bits(r), x);
}

#if VEC_W == 16
VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
VEC_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
}
VEC_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
}
VEC_INLINE vec vec_sqrt(vec a)
{
    return (vec)_mm512_sqrt_ps((__m512)a);
}
#elif VEC_W == 8
VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
VEC_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
}
VEC_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
}
VEC_INLINE vec vec_sqrt(vec a)
{
    return (vec)_mm256_sqrt_ps((__m256)a);
}
#else
VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}
VEC_INLINE vec vec_max(vec a, vec b)
{
    return vec_select(a > b, a, b);
}
VEC_INLINE vec vec_min(vec a, vec b)
{
    return vec_select(a < b, a, b);
}
VEC_INLINE vec vec_sqrt(vec a)
{
    for (int i = 0; i < VEC_W; i++) a[i] = sqrtf(a[i]);
    return a;
}
#endif

/* Across lanes, in a fixed order: halves onto each other. */
VEC_INLINE float vec_sum(vec v)
{
#if VEC_W == 16
    return _mm512_reduce_add_ps((__m512)v);
#else
    for (int h = VEC_W / 2; h > 0; h /= 2)
        for (int i = 0; i < h; i++) v[i] += v[i + h];
    return v[0];
#endif
}
VEC_INLINE float vec_top(vec v)
{
#if VEC_W == 16
    return _mm512_reduce_max_ps((__m512)v);
#else
    float t = v[0];
    for (int i = 1; i < VEC_W; i++) t = v[i] > t ? v[i] : t;
    return t;
#endif
}

/* exp(x) (Cephes expf): 2^n times a polynomial on [-ln2/2, ln2/2].  Error ≤ 2 ulp in -87 … 88; 0 below, e^88 above. */
VEC_INLINE vec vec_exp(vec x)
{
    const vec magic = vec_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    const veci none = x < -87.0f;
    x = vec_min(vec_set(88.0f), vec_max(vec_set(-87.0f), x));
    const vec n = vec_fma(x, vec_set(1.44269504f), magic) - magic;
    const vec r = vec_fma(n, vec_set(2.12194440e-4f), vec_fma(n, vec_set(-0.693359375f), x));
    vec p = vec_set(1.9875691500e-4f);
    p = vec_fma(p, r, vec_set(1.3981999507e-3f));
    p = vec_fma(p, r, vec_set(8.3334519073e-3f));
    p = vec_fma(p, r, vec_set(4.1665795894e-2f));
    p = vec_fma(p, r, vec_set(1.6666665459e-1f));
    p = vec_fma(p, r, vec_set(5.0000001201e-1f));
    p = vec_fma(p, r * r, r) + 1.0f;
    const vec two_n = vec_bits((vec_int(n + magic) << 23) + (127 << 23)); /* low bits of n + magic are n */
    return vec_bits(~none & vec_int(p * two_n));
}

/* -1 where x < -limit, 1 where x > limit, else y: beyond the limit float32 knows no other value. */
VEC_INLINE vec vec_saturate(vec x, vec y, float limit)
{
    return vec_select(x > limit, vec_set(1.0f), vec_select(x < -limit, vec_set(-1.0f), y));
}

/* erf(x), odd rational minimax approximation on [-4, 4] (as in Eigen and XLA).  Absolute error ≤ 5e-7. */
VEC_INLINE vec vec_erf(vec x)
{
    const vec whole = x;
    x = vec_min(vec_set(4.0f), vec_max(vec_set(-4.0f), x));
    const vec z = x * x;
    vec a = vec_set(-2.72614225801306e-10f);
    a = vec_fma(a, z, vec_set(2.77068142495902e-08f));
    a = vec_fma(a, z, vec_set(-2.10102402082508e-06f));
    a = vec_fma(a, z, vec_set(-5.69250639462346e-05f));
    a = vec_fma(a, z, vec_set(-7.34990630326855e-04f));
    a = vec_fma(a, z, vec_set(-2.95459980854025e-03f));
    a = vec_fma(a, z, vec_set(-1.60960333262415e-02f));
    vec b = vec_set(-1.45660718464996e-05f);
    b = vec_fma(b, z, vec_set(-2.13374055278905e-04f));
    b = vec_fma(b, z, vec_set(-1.68282697438203e-03f));
    b = vec_fma(b, z, vec_set(-7.37332916720468e-03f));
    b = vec_fma(b, z, vec_set(-1.42647390514189e-02f));
    return vec_saturate(whole, x * a / b, 3.92f);
}

/* tanh(x), odd rational minimax approximation on [-7.9, 7.9] (as in Eigen).  Absolute error ≤ 5e-7. */
VEC_INLINE vec vec_tanh(vec x)
{
    const vec whole = x;
    x = vec_min(vec_set(7.90531111f), vec_max(vec_set(-7.90531111f), x));
    const vec z = x * x;
    vec a = vec_set(-2.76076847742355e-16f);
    a = vec_fma(a, z, vec_set(2.00018790482477e-13f));
    a = vec_fma(a, z, vec_set(-8.60467152213735e-11f));
    a = vec_fma(a, z, vec_set(5.12229709037114e-08f));
    a = vec_fma(a, z, vec_set(1.48572235717979e-05f));
    a = vec_fma(a, z, vec_set(6.37261928875436e-04f));
    a = vec_fma(a, z, vec_set(4.89352455891786e-03f));
    vec b = vec_set(1.19825839466702e-06f);
    b = vec_fma(b, z, vec_set(1.18534705686654e-04f));
    b = vec_fma(b, z, vec_set(2.26843463243900e-03f));
    b = vec_fma(b, z, vec_set(4.89352518554385e-03f));
    return vec_saturate(whole, x * a / b, 8.5f);
}

/* A vector at p of which only `left` > 0 elements may be there. */
VEC_INLINE vec vec_load_upto(const float *p, size_t left)
{
    return left >= VEC_W ? vec_load(p) : vec_load_part(p, left);
}

VEC_INLINE void vec_store_upto(float *p, vec v, size_t left)
{
    if (left >= VEC_W)
        vec_store(p, v);
    else
        vec_store_part(p, v, left);
}

/* sum of a[i]*b[i]: four lanes-wide chains, then across. */
VEC_INLINE float vec_dot(const float *a, const float *b, size_t n)
{
    vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    size_t i = 0;
    for (; i + 4 * VEC_W <= n; i += 4 * VEC_W) {
        s0 = vec_fma(vec_load(a + i), vec_load(b + i), s0);
        s1 = vec_fma(vec_load(a + i + VEC_W), vec_load(b + i + VEC_W), s1);
        s2 = vec_fma(vec_load(a + i + 2 * VEC_W), vec_load(b + i + 2 * VEC_W), s2);
        s3 = vec_fma(vec_load(a + i + 3 * VEC_W), vec_load(b + i + 3 * VEC_W), s3);
    }
    for (; i + VEC_W <= n; i += VEC_W) s0 = vec_fma(vec_load(a + i), vec_load(b + i), s0);
    if (i < n) s1 = vec_fma(vec_load_part(a + i, n - i), vec_load_part(b + i, n - i), s1);
    return vec_sum((s0 + s1) + (s2 + s3));
}

/* y += a*x */
VEC_INLINE void vec_axpy(float *y, float a, const float *x, size_t n)
{
    const vec va = vec_set(a);
    size_t i = 0;
    for (; i + VEC_W <= n; i += VEC_W) vec_store(y + i, vec_fma(va, vec_load(x + i), vec_load(y + i)));
    if (i < n) vec_store_part(y + i, vec_fma(va, vec_load_part(x + i, n - i), vec_load_part(y + i, n - i)), n - i);
}
#endif
