# Waits on descriptors: pipes, sockets, and poll's family that watches them. Included by detector/CMakeLists.txt, which
# owns the library, the factory and the programs that examine its cases.
target_sources(wedge-detector PRIVATE
  kernel/sockets.c kernel/messages.c
  wait/descriptor.c wait/poll.c wait/epoll.c wait/pipe.c wait/pidfd.c
  wait/socket.c wait/socket_unix.c wait/socket_inet.c)
if(NOT BUILD_TESTING)
  return()
endif()

target_sources(wedge-factory PRIVATE tests/programs/factory_descriptor.c tests/programs/factory_ends.c tests/programs/factory_tables.c
  tests/programs/factory_socket.c tests/programs/factory_datagram.c tests/programs/factory_network.c)
if(NOT WEDGE_SANITIZE) # it measures; and a sanitizer's strstr(3) looks for the end of the whole text itself
  wedge_add_unit_test(test_lines SOURCES tests/test_lines.c LIBS wedge::detector LABELS unit no-valgrind)
endif()
wedge_add_unit_test(test_machine SOURCES tests/test_machine.c LIBS wedge::detector LABELS integration)
wedge_add_unit_test(test_sockets SOURCES tests/test_sockets.c LIBS wedge::detector)
foreach(name test_descriptor test_socket)
  wedge_add_cases_test(${name} wedge-factory)
endforeach()
set_tests_properties(test_descriptor test_socket PROPERTIES TIMEOUT 300) # with a sanitizer, on a machine where many want a processor
