# The installed form: library, header, find_package(tiba) and pkg-config.
include(CMakePackageConfigHelpers)
install(TARGETS tiba EXPORT tibaTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/tiba.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT tibaTargets NAMESPACE tiba:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tiba)
configure_package_config_file(cmake/tibaConfig.cmake.in ${CMAKE_BINARY_DIR}/tibaConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tiba)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tibaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tibaConfig.cmake ${CMAKE_BINARY_DIR}/tibaConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tiba)
# The prefix is said from where tiba.pc lies, so that `cmake --install --prefix` may choose it.
file(RELATIVE_PATH TIBA_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/tiba.pc.in ${CMAKE_BINARY_DIR}/tiba.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/tiba.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES docs/tiba-onnx.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/explanation.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/tiba)
install(FILES completions/tiba-onnx.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME tiba-onnx)
