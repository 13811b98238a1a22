/*
 * check.h: the tests' own few macros. A failed CHECK prints where and goes on; TEST_END gives the
 * exit status. A test program is one file; a table of cases is a loop with CHECK_CASE.
 *
 *     int main(void) {
 *         CHECK(1 + 1 == 2);
 *         CHECK_NEAR(0.1 + 0.2, 0.3, 1e-12);
 *         TEST_END();
 *     }
 */
#ifndef TB_TESTS_CHECK_H
#define TB_TESTS_CHECK_H

#include <math.h>
#include <stdio.h>
#include <string.h>

static int check_failed, check_done;

#define CHECK_CASE(condition, ...)                                                                 \
    do {                                                                                           \
        check_done++;                                                                              \
        if (!(condition)) {                                                                        \
            check_failed++;                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)
#define CHECK(condition)        CHECK_CASE(condition, "failed")
#define CHECK_STRING(got, want) CHECK_CASE(strcmp((got), (want)) == 0, "got \"%s\"", (got))
#define CHECK_NEAR(got, want, eps)                                                                 \
    CHECK_CASE(fabs((double)(got) - (double)(want)) <= (eps), "got %.9g, want %.9g",               \
               (double)(got), (double)(want))
#define TEST_END()                                                                                 \
    do {                                                                                           \
        printf("%d checks, %d failed\n", check_done, check_failed);                                \
        return check_failed != 0 || check_done == 0;                                               \
    } while (0)

#endif
