# Installed form: library, header, find_package(tiba) and pkg-config.
install(TARGETS tiba EXPORT tibaTargets)
install(FILES include/tiba.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
