/* Which kernels this CPU can run. */
#include <cpuid.h>
#include <string.h>

#include "stenograf.h"
#include "variant.h"

static void nothing(void) {}

/* AVX-512 and AMX share everything but the dot products and the encoder's attention. */
#define TABLE(isa, ops, less, attention, other, start, stop)                                       \
    const kernels kernels_##isa = {                                                                \
        .name = #isa, .exact = other, .offset = less, .dot = dot_##isa, .quantize = quantize_##ops,\
        .quantize_fine = quantize_fine_##ops, .quantize_signed = quantize_signed_##ops,            \
        .finish = finish_##ops, .norm = norm_##ops, .gelu = gelu_##ops, .softmax = softmax_##ops,  \
        .attend = attend_##attention, .attend_scratch = attend_scratch_##attention,                \
        .dot_bf16 = dot_bf16_##ops, .add_bf16 = add_bf16_##ops, .to_bf16 = to_bf16_##ops,          \
        .begin = start, .end = stop}

TABLE(base, base, 0, base, NULL, nothing, nothing);
#ifdef WITH_avx2
TABLE(avx2, avx2, 128, avx2, NULL, nothing, nothing);
#endif
#ifdef WITH_avxvnni
TABLE(avxvnni, avx2, 0, avx2, NULL, nothing, nothing);
#endif
#ifdef WITH_avx512
TABLE(avx512, avx512, 0, avx512, NULL, nothing, nothing);
#endif
#ifdef WITH_amx
TABLE(amx, avx512, 0, amx, &kernels_avx512, begin_amx, end_amx);
#endif

/* The compiler's own detection knows whether the system saves the registers of AVX and AVX-512;
 * what it does not know by name is asked of the CPU. */
#ifdef WITH_avx2
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

#ifdef WITH_avx512
static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
           && __builtin_cpu_supports("avx512vnni");
}
#endif

#if defined(WITH_avxvnni) || defined(WITH_amx)
static unsigned leaf7(unsigned subleaf, int want_edx)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, subleaf, &a, &b, &c, &d)) return 0;
    return want_edx ? d : a;
}
#endif

const kernels *kernels_for(const char *wanted)
{
    const kernels *usable[5];
    int count = 0;
    __builtin_cpu_init();
#ifdef WITH_amx
    const unsigned amx = 1u << 22 | 1u << 24 | 1u << 25; /* bf16, tile, int8 */
    unsigned bf16 = leaf7(1, 0) & 1u << 5;               /* AVX512_BF16 */
    if (has_avx512() && bf16 && (leaf7(0, 1) & amx) == amx && allow_amx())
        usable[count++] = &kernels_amx;
#endif
#ifdef WITH_avx512
    if (has_avx512()) usable[count++] = &kernels_avx512;
#endif
#ifdef WITH_avxvnni
    if (has_avx2() && leaf7(1, 0) & 1u << 4) usable[count++] = &kernels_avxvnni;
#endif
#ifdef WITH_avx2
    if (has_avx2()) usable[count++] = &kernels_avx2;
#endif
    usable[count++] = &kernels_base;
    for (int i = 0; i < count; i++)
        if (!wanted || !*wanted || !strcmp(wanted, usable[i]->name)) return usable[i];
    return NULL;
}

const char *st_isa(const char *wanted)
{
    const kernels *found = kernels_for(wanted);
    return found ? found->name : NULL;
}

const char *st_sources(void) { return ST_SOURCES; }
