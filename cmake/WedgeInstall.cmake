# What an installed wedge offers to other builds: the CMake package "wedge" and the pkg-config modules.
#
#   wedge::point   <wedge/point.h>, headers alone: places in any program (pkg-config: wedge)
#   wedge::watchdog  <wedge/detector.h>, libwedge: a watchdog inside a program (pkg-config: wedge-detector)
#   wedge::pool    <wedge/pool.h>, the reference pool, where it was built (pkg-config: wedge-pool)
#
# Each folder installs its own programs and libraries; this file, read last, adds what spans folders.

include(CMakePackageConfigHelpers)

set(wedge_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/wedge)

add_library(wedge-point INTERFACE)
add_library(wedge::point ALIAS wedge-point)
set_target_properties(wedge-point PROPERTIES EXPORT_NAME point)
target_include_directories(wedge-point INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/base/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS wedge-point EXPORT wedge-targets)

# The libraries' folder is relative to the prefix in a .pc file, so that an installed tree can be moved.
file(RELATIVE_PATH wedge_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" wedge_pc_up "${wedge_pc_up}")
function(wedge_install_pc name)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

wedge_install_pc(wedge)
wedge_install_pc(wedge-detector)
if(TARGET wedge-pool)
  set_target_properties(wedge-pool PROPERTIES EXPORT_NAME pool)
  wedge_install_pc(wedge-pool)
endif()

install(EXPORT wedge-targets NAMESPACE wedge:: DESTINATION ${wedge_package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/wedgeConfig.cmake.in
  ${PROJECT_BINARY_DIR}/wedgeConfig.cmake INSTALL_DESTINATION ${wedge_package_dir}
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/wedgeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/wedgeConfig.cmake ${PROJECT_BINARY_DIR}/wedgeConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/WedgeTest.cmake
  DESTINATION ${wedge_package_dir})
