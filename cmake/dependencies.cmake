# What the project takes from the distribution, on the interface target tiba_dependencies.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Python3 COMPONENTS Interpreter)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(NETTLE REQUIRED IMPORTED_TARGET nettle)
pkg_check_modules(DEFLATE REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(STB REQUIRED IMPORTED_TARGET stb)
find_program(PROTOC_C protoc-c REQUIRED)
find_file(ONNX_PROTO onnx/onnx.proto PATHS /usr/include REQUIRED)

add_library(tiba_dependencies INTERFACE)
target_link_libraries(tiba_dependencies INTERFACE
  PkgConfig::PROTOBUF_C PkgConfig::CJSON PkgConfig::OPENBLAS PkgConfig::UTF8PROC PkgConfig::PCRE2
  PkgConfig::NETTLE PkgConfig::DEFLATE
  Threads::Threads)
# stb is used header-only: each header is compiled in the one file of io/ that owns it.
target_include_directories(tiba_dependencies SYSTEM INTERFACE ${STB_INCLUDE_DIRS})
