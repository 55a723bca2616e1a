/* Names of one compiled variant: VARIANT(norm) is norm_avx2 when compiled with -DISA=avx2. */
#ifndef VARIANT_H
#define VARIANT_H

#include "kernels.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define VARIANT(name) JOIN(name, ISA)

#define DECLARE(isa)                                                                               \
    void quantize_##isa(const float *, int, uint8_t *, int, float *, float *);                     \
    void quantize_fine_##isa(const float *, int, uint8_t *, uint8_t *, int, float *, float *);     \
    float quantize_signed_##isa(const float *, int, int8_t *, float *);                            \
    void finish_##isa(const int32_t *, int, const matrix *, int, const codes *, int,               \
                      const finish *);                                                             \
    void norm_##isa(const float *, int, const float *, const float *, float *);                    \
    void gelu_##isa(float *, int);                                                                 \
    void softmax_##isa(float *, int);                                                              \
    float dot_bf16_##isa(const float *, const uint16_t *, int);                                    \
    void add_bf16_##isa(float, const uint16_t *, int, float *);                                    \
    void to_bf16_##isa(const float *, int, uint16_t *);                                            \
    void attend_##isa(const float *, const float *, const float *, size_t, int, int, int, int,     \
                      float *, size_t, void *);                                                    \
    size_t attend_scratch_##isa(int, int);

#define DECLARE_DOT(isa)                                                                           \
    void dot_##isa(const uint8_t *, int, int, const int8_t *, int, int32_t *);

DECLARE(base)
DECLARE(avx2)
DECLARE(avx512)
DECLARE_DOT(base)
DECLARE_DOT(avx2)
DECLARE_DOT(avxvnni)
DECLARE_DOT(avx512)
DECLARE_DOT(amx)
void attend_amx(const float *, const float *, const float *, size_t, int, int, int, int, float *,
                size_t, void *);
size_t attend_scratch_amx(int, int);
void begin_amx(void);
void end_amx(void);
int allow_amx(void);

#endif
