# onnx.pb-c.[ch], generated at build time from the distribution's onnx.proto.
get_filename_component(ONNX_PROTO_FOLDER ${ONNX_PROTO} DIRECTORY)
set(GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${GENERATED})
add_custom_command(
  OUTPUT ${GENERATED}/onnx.pb-c.c ${GENERATED}/onnx.pb-c.h
  COMMAND ${PROTOC_C} --c_out=${GENERATED} -I ${ONNX_PROTO_FOLDER} ${ONNX_PROTO}
  DEPENDS ${ONNX_PROTO} VERBATIM)
add_library(tiba_onnx_proto OBJECT ${GENERATED}/onnx.pb-c.c)
target_link_libraries(tiba_onnx_proto PRIVATE tiba_dependencies)
if(TIBA_SANITIZE)
  target_compile_options(tiba_onnx_proto PRIVATE -fsanitize=${TIBA_SANITIZE})
endif()
if(TARGET tiba_onnx)
  add_dependencies(tiba_onnx tiba_onnx_proto)
  target_include_directories(tiba_onnx SYSTEM PRIVATE ${GENERATED})
endif()
