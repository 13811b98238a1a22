#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names from a file reach the message: it must stay one printable line of valid UTF-8. */
static void clean_line(char *text, size_t capacity) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) text[i] = '?';
    }
    size_t i = 0;
    while (i < length) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : (c >= 0xc2 && c < 0xe0) ? 2 : (c >= 0xe0 && c < 0xf0) ? 3 : 4;
        if (c >= 0x80 && (c < 0xc2 || c > 0xf4)) n = 0;
        size_t have = 1;
        while (n > 1 && have < n && i + have < length &&
               ((unsigned char)text[i + have] & 0xc0) == 0x80)
            have++;
        if (n == 0 || have < n) {
            if (i + have >= length && length + 1 >= capacity) {
                text[i] = '\0';
                return;
            }
            for (size_t k = 0; k < have; k++) text[i + k] = '?';
        }
        i += have;
    }
}

tiba_status tb_fail(tiba_error *error, tiba_status code, const char *format, ...) {
    if (error) {
        error->code = code;
        error->node[0] = '\0';
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        clean_line(error->message, sizeof error->message);
    }
    return code;
}

tiba_status tb_out_of_memory(tiba_error *error) {
    return tb_fail(error, TIBA_ERROR_RESOURCE, "out of memory");
}

tiba_status tb_error_prefix(tiba_error *error, tiba_status code, const char *prefix) {
    if (!error) return code;
    size_t room = sizeof error->message - 1, length = strlen(prefix);
    size_t kept = strlen(error->message);
    if (length > room / 2) length = room / 2;
    if (kept > room - length - 2) kept = room - length - 2;
    memmove(error->message + length + 2, error->message, kept);
    memcpy(error->message, prefix, length);
    memcpy(error->message + length, ": ", 2);
    error->message[length + 2 + kept] = '\0';
    clean_line(error->message, sizeof error->message);
    return error->code;
}
