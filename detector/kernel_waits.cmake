# Waits of the kernel's own: file locks and their like. Included by detector/CMakeLists.txt, which owns the library, the
# factory and the programs that examine its cases.
target_sources(wedge-detector PRIVATE
  look/alarm.c kernel/file_locks.c
  wait/file_lock.c wait/frozen.c wait/open.c wait/queue.c wait/sysv.c wait/vfork.c
  wait/signal.c wait/eventfd.c wait/timerfd.c wait/device.c)
if(NOT BUILD_TESTING)
  return()
endif()

target_sources(wedge-factory PRIVATE
  tests/programs/factory_locks.c tests/programs/factory_events.c tests/programs/factory_queues.c tests/programs/factory_vfork.c)
target_link_libraries(wedge-factory PRIVATE util) # openpty, before glibc 2.34
foreach(name test_file_locks test_frozen)
  wedge_add_unit_test(${name} SOURCES tests/${name}.c LIBS wedge::detector)
endforeach()

# It calls alarm(), and is therefore no part of the factory.
wedge_add_program(wedge-factory-alarm SOURCES tests/programs/factory_alarm.c LIBS Threads::Threads)
set(test_alarm_factory wedge-factory-alarm)
set(test_kernel_waits_factory wedge-factory)
foreach(name test_alarm test_kernel_waits)
  wedge_add_unit_test(${name} SOURCES tests/${name}.c tests/harness.c tests/cases.c
    LIBS wedge::detector PkgConfig::LIBDW LABELS integration)
  target_compile_definitions(${name} PRIVATE WEDGE_FACTORY="$<TARGET_FILE:${${name}_factory}>")
  add_dependencies(${name} ${${name}_factory})
  add_test(NAME ${name}-20 COMMAND ${name})
  set_tests_properties(${name}-20 PROPERTIES LABELS nightly TIMEOUT 3600
    ENVIRONMENT "WEDGE_CASES_REPEAT=20;CK_TIMEOUT_MULTIPLIER=20")
endforeach()
