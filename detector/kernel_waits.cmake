# Waits of the kernel's own: file locks and their like. Included by detector/CMakeLists.txt, which owns the library, the
# factory and the programs that examine its cases.
target_sources(wedge-detector PRIVATE
  look/alarm.c kernel/file_locks.c kernel/clocks.c
  wait/file_lock.c wait/frozen.c wait/open.c wait/queue.c wait/sysv.c wait/vfork.c
  wait/signal.c wait/eventfd.c wait/timerfd.c wait/device.c)
if(NOT BUILD_TESTING)
  return()
endif()

target_sources(wedge-factory PRIVATE
  tests/programs/factory_locks.c tests/programs/factory_events.c tests/programs/factory_queues.c tests/programs/factory_vfork.c
  tests/programs/factory_sources.c tests/programs/factory_outside.c)
target_link_libraries(wedge-factory PRIVATE util) # openpty, before glibc 2.34
foreach(name test_file_locks test_frozen)
  wedge_add_unit_test(${name} SOURCES tests/${name}.c LIBS wedge::detector)
endforeach()

# It calls alarm(), and is therefore no part of the factory.
wedge_add_program(wedge-factory-alarm SOURCES tests/programs/factory_alarm.c LIBS Threads::Threads)
wedge_add_cases_test(test_alarm wedge-factory-alarm LIBS PkgConfig::LIBDW)
wedge_add_cases_test(test_kernel_waits wedge-factory LIBS PkgConfig::LIBDW)
wedge_add_cases_test(test_outside wedge-factory LIBS PkgConfig::LIBDW)
wedge_add_cases_test(test_sources wedge-factory)

# It mounts a file system.
add_test(NAME test_btrfs COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tests/test_btrfs $<TARGET_FILE:wedge> $<TARGET_FILE:wedge-factory>)
set_tests_properties(test_btrfs PROPERTIES LABELS nightly TIMEOUT 600 SKIP_RETURN_CODE 77)
