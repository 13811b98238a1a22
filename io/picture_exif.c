/*
 * picture_exif.c: the one tag of EXIF that changes what is seen, Orientation (0x0112), from a TIFF
 * structure of either byte order or, where that has none, from an XMP packet.
 */
#include <string.h>

#include "io/picture_formats.h"

int tb_exif_orientation(const uint8_t *bytes, size_t size) {
    while (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) bytes += 6, size -= 6;
    if (size < 8) return 0;
    uint32_t (*read)(const uint8_t *, int);
    if (memcmp(bytes, "II\x2a\0", 4) == 0)
        read = tb_read_le;
    else if (memcmp(bytes, "MM\0\x2a", 4) == 0)
        read = tb_read_be;
    else
        return 0;
    size_t at = read(bytes + 4, 4);
    if (at > size || size - at < 2) return 0;
    size_t entries = read(bytes + at, 2);
    at += 2;
    for (size_t i = 0; i < entries && size - at >= 12; i++, at += 12) {
        if (read(bytes + at, 2) != 0x0112) continue;
        uint32_t type = read(bytes + at + 2, 2), count = read(bytes + at + 4, 4);
        if (count != 1) return 0;
        if (type == 3) return (int)read(bytes + at + 8, 2);
        if (type == 1) return bytes[at + 8];
        uint32_t value = type == 4 ? read(bytes + at + 8, 4) : 0;
        return value <= 8 ? (int)value : 0;
    }
    return 0;
}

int tb_xmp_orientation(const uint8_t *bytes, size_t size) {
    static const char tag[] = "tiff:Orientation";
    const size_t length = sizeof tag - 1;
    for (size_t i = 0; i + length + 3 <= size; i++) {
        if (bytes[i] != 't' || memcmp(bytes + i, tag, length) != 0) continue;
        const uint8_t *after = bytes + i + length;
        size_t skip = after[0] == '>' ? 1 : after[0] == '=' && after[1] == '"' ? 2 : 0;
        if (skip && after[skip] >= '0' && after[skip] <= '9') return after[skip] - '0';
    }
    return 0;
}
