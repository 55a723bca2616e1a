/* Integer dot products with AMX tiles: 16 rows x 64 columns of bytes against 64 x 16. */
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "variant.h"

/* Tiles 0-3 accumulate, 4 and 5 hold activations, 6 and 7 weights. A full tile costs as much as a
 * part of one, so all are full and rows behind the last are read and thrown away. */
void dot_amx(const uint8_t *a, int stride, int rows, const int8_t *panel, int deep, int32_t *acc)
{
    const int8_t *behind = panel + BLOCK * deep;
    const uint8_t *below = a + 16 * (size_t)stride;
    const int row_bytes = PANEL * (int)sizeof(int32_t);
    __asm__ volatile("" ::: "memory"); /* loading a tile is not always known to read memory */
    _tile_zero(0);
    _tile_zero(1);
    if (rows <= 16) {
        int32_t few[16 * PANEL];
        for (int k = 0; k < deep; k += DEEP) {
            _tile_loadd(4, a + k, stride);
            _tile_loadd(6, panel + k * BLOCK, DEEP);
            _tile_dpbusd(0, 4, 6);
            _tile_loadd(7, behind + k * BLOCK, DEEP);
            _tile_dpbusd(1, 4, 7);
        }
        int32_t *out = rows == 16 ? acc : few;
        _tile_stored(0, out, row_bytes);
        _tile_stored(1, out + BLOCK, row_bytes);
        if (out == few) memcpy(acc, few, (size_t)rows * PANEL * sizeof *acc);
        return;
    }
    _tile_zero(2);
    _tile_zero(3);
    for (int k = 0; k < deep; k += DEEP) {
        _tile_loadd(4, a + k, stride);
        _tile_loadd(6, panel + k * BLOCK, DEEP);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(5, below + k, stride);
        _tile_dpbusd(2, 5, 6);
        _tile_loadd(7, behind + k * BLOCK, DEEP);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(3, 5, 7);
    }
    /* acc has TALL rows: what lies behind `rows` is never looked at */
    _tile_stored(0, acc, row_bytes);
    _tile_stored(1, acc + BLOCK, row_bytes);
    _tile_stored(2, acc + 16 * PANEL, row_bytes);
    _tile_stored(3, acc + 16 * PANEL + BLOCK, row_bytes);
}

#define EIGHT_TILES(x) {x, x, x, x, x, x, x, x, 0, 0, 0, 0, 0, 0, 0, 0}

void begin_amx(void)
{
    /* constant, because some compilers do not see that the instruction reads all of it */
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t columns_bytes[16];
        uint8_t rows[16];
    } __attribute__((packed)) config = {1, 0, {0}, EIGHT_TILES(64), EIGHT_TILES(16)};
    _tile_loadconfig(&config);
}

void end_amx(void) { _tile_release(); }

/* Linux gives a process the 8 KiB of tile state only when it asks. */
int allow_amx(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
