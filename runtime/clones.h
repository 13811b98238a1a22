/*
 * clones.h: run-time choice of the vector width. TB_CLONES in front of a function makes the
 * compiler build it for AVX-512, AVX2 and the baseline; the loader takes the best one. They are
 * named by instruction set: clones named by a processor ("arch=haswell") run on that model only.
 *
 * Without FMA contraction (cmake/options.cmake) and with sums kept in a fixed number of lanes, all
 * clones give the same bytes. Names of static functions so marked are unique in the program:
 * clang 14 gives what chooses between clones external linkage.
 */
#ifndef TB_RUNTIME_CLONES_H
#define TB_RUNTIME_CLONES_H

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define TB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef TB_CLONES
#define TB_CLONES
#endif

/** For helpers of such functions: they are built for the same width. */
#define TB_INLINE inline __attribute__((always_inline))

/** Before a loop that reads and writes the same index only, however its arrays overlap. */
#if defined(__clang__) /* its pragma of that kind warns of every loop that stays as it is */
#define TB_IVDEP
#else
#define TB_IVDEP _Pragma("GCC ivdep")
#endif

/** Before a loop of a known and small number of steps whose arrays are to be registers. */
#if defined(__clang__)
#define TB_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TB_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
