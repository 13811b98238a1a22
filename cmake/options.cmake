# Build type, C standard, warnings and sanitizers, on the interface target tiba_options.
option(TIBA_TESTS "Build the tests" ON)
option(TIBA_WERROR "Warnings are errors" OFF)
set(TIBA_SANITIZE "" CACHE STRING "Sanitizers, for instance address,undefined")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_C_FLAGS_RELEASE "-O3")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(tiba_options INTERFACE)
target_include_directories(tiba_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(tiba_options INTERFACE _POSIX_C_SOURCE=200809L _FILE_OFFSET_BITS=64)
# No contraction into FMA: the resampler must give Pillow's bytes, and results must not depend on
# what a compiler finds to fuse.
target_compile_options(tiba_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  # TB_IVDEP is a permission to vectorise, no promise that it is done. Changes of sign are gcc's to
  # find, which knows that an exit status of an enum's type is no such change.
  target_compile_options(tiba_options INTERFACE -Wno-pass-failed -Wno-sign-conversion)
endif()
if(TIBA_WERROR)
  # gcc's guess about uninitialised variables depends on what it inlines: shown, but no error.
  target_compile_options(tiba_options INTERFACE -Werror -Wno-error=maybe-uninitialized
                         $<$<C_COMPILER_ID:Clang>:-Wno-unknown-warning-option>)
endif()
if(TIBA_SANITIZE)
  target_compile_options(tiba_options INTERFACE -fsanitize=${TIBA_SANITIZE}
                         -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tiba_options INTERFACE -fsanitize=${TIBA_SANITIZE})
endif()
