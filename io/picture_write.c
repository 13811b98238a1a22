/* picture_write.c: the one file that stb_image_write is compiled in. */
#include "io/picture_write.h"

#include <libdeflate.h>
#include <string.h>

#include "base/file.h"

/* Of 1 to 12: with more, photographs under a heat map get 3 % smaller in twice the time. */
enum { COMPRESSION_LEVEL = 3 };

/* stb_image_write's own compression takes three times as long, for files half as large again. The
 * result is freed by tb_hook_free; NULL: out of memory. */
static unsigned char *compress(unsigned char *data, int size, int *out_size, int level) {
    (void)level;
    struct libdeflate_compressor *deflate = libdeflate_alloc_compressor(COMPRESSION_LEVEL);
    if (!deflate) return NULL;
    size_t room = libdeflate_zlib_compress_bound(deflate, (size_t)size);
    unsigned char *out = tb_hook_malloc(room);
    if (out) *out_size = (int)libdeflate_zlib_compress(deflate, data, (size_t)size, out, room);
    libdeflate_free_compressor(deflate);
    return out;
}

#define STBIW_ZLIB_COMPRESS compress
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STBIW_ASSERT(condition)    ((void)0)
#define STBIW_MALLOC(size)         tb_hook_malloc(size)
#define STBIW_REALLOC(block, size) tb_hook_realloc(block, size)
#define STBIW_FREE(block)          tb_hook_free(block)
#include <stb/stb_image_write.h>

/* stb_image_write counts in int. */
#define MAX_BYTES (INT64_C(1) << 30)

static tiba_status encode(uint8_t **out, int *size, tb_budget *budget, const tb_picture *picture,
                          tiba_error *error) {
    if ((int64_t)picture->width * picture->height * 3 > MAX_BYTES)
        return tb_fail(error, TIBA_ERROR_RESOURCE, "a picture of %d x %d is too large to write",
                       picture->width, picture->height);
    tb_budget *former = tb_budget_enter(budget);
    *out = stbi_write_png_to_mem(picture->rgb, 3 * picture->width, picture->width, picture->height,
                                 3, size);
    tb_budget_enter(former);
    return *out ? TIBA_OK : tb_out_of_memory(error);
}

tiba_status tb_picture_encode_png(uint8_t **out, size_t *size, tb_arena *arena,
                                  const tb_picture *picture, tiba_error *error) {
    uint8_t *bytes;
    int length;
    TB_TRY(encode(&bytes, &length, tb_arena_budget(arena), picture, error));
    uint8_t *copy = tb_arena_alloc(arena, (size_t)length, 1);
    if (copy) memcpy(copy, bytes, (size_t)length);
    tb_free(bytes);
    if (!copy) return tb_out_of_memory(error);
    *out = copy;
    *size = (size_t)length;
    return TIBA_OK;
}

tiba_status tb_picture_write_png(const char *path, const tb_picture *picture, tiba_error *error) {
    uint8_t *bytes;
    int length;
    TB_TRY(encode(&bytes, &length, NULL, picture, error));
    tiba_status status = tb_file_write(path, bytes, (size_t)length, error);
    tb_free(bytes);
    return status;
}
