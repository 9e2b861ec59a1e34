# Tests of the stacks: what capture.h promises, from the stop to the names.
# Included by detector/CMakeLists.txt, which owns the library.
set(WEDGE_STACKS_DIR ${CMAKE_CURRENT_LIST_DIR})

# wedge_add_stacks_target(NAME OPTIONS … LINK …): the same blocked program, built in one more way. Never
# instrumented: it stands for other people's programs.
function(wedge_add_stacks_target name)
  cmake_parse_arguments(A "" "" "OPTIONS;LINK" ${ARGN})
  add_executable(${name} ${WEDGE_STACKS_DIR}/tests/stacks_target.c)
  target_link_libraries(${name} PRIVATE wedge-flags Threads::Threads)
  # What the build type says about optimisation and debug information must not leak into what is being tested.
  target_compile_options(${name} PRIVATE -g -fno-lto -U_FORTIFY_SOURCE ${A_OPTIONS})
  target_link_options(${name} PRIVATE -Wl,--build-id=sha1 ${A_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
endfunction()

# The pause against that of gdb and eu-stack; built on demand.
function(wedge_add_stacks_bench lib)
  add_executable(bench-stacks-pause EXCLUDE_FROM_ALL ${WEDGE_STACKS_DIR}/../bench/detector/stacks_pause.c)
  target_link_libraries(bench-stacks-pause PRIVATE wedge-flags ${lib} Threads::Threads)
endfunction()

function(wedge_add_stacks_tests lib)
  wedge_add_stacks_bench(${lib})
  if(NOT BUILD_TESTING)
    return()
  endif()
  wedge_add_stacks_target(stacks_target_plain OPTIONS -O0)
  wedge_add_stacks_target(stacks_target_o2 OPTIONS -O2 -fomit-frame-pointer)
  wedge_add_stacks_target(stacks_target_static OPTIONS -O2 -fomit-frame-pointer -fno-pie LINK -static -no-pie)
  wedge_add_stacks_target(stacks_target_static_pie OPTIONS -O2 -fPIE LINK -static-pie)
  wedge_add_stacks_target(stacks_target_no_hdr OPTIONS -O2 -fomit-frame-pointer LINK -Wl,--no-eh-frame-hdr)
  wedge_add_stacks_target(stacks_target_debug_frame
    OPTIONS -O2 -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables)
  wedge_add_stacks_target(stacks_target_no_cfi
    OPTIONS -O0 -fno-omit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -g0)
  wedge_add_stacks_target(stacks_target_stripped OPTIONS -O2 -fomit-frame-pointer LINK -s)

  set(targets
    stacks_target_plain stacks_target_o2 stacks_target_static stacks_target_static_pie stacks_target_no_hdr
    stacks_target_debug_frame stacks_target_no_cfi stacks_target_stripped)

  set(tests ${WEDGE_STACKS_DIR}/tests)
  wedge_add_unit_test(test_target_memory SOURCES ${tests}/test_target_memory.c LIBS ${lib})
  wedge_add_unit_test(test_capture SOURCES ${tests}/test_capture.c ${tests}/stacks_harness.c LIBS ${lib})
  wedge_add_unit_test(test_symbols SOURCES ${tests}/test_symbols.c ${tests}/stacks_harness.c LIBS ${lib})
  add_dependencies(test_capture ${targets})
  add_dependencies(test_symbols ${targets})
  # The oracle is part of the comparison, not of wedge: without it there is nothing to compare with.
  find_program(EU_STACK eu-stack)
  if(EU_STACK)
    wedge_add_unit_test(test_stacks_oracle SOURCES ${tests}/test_stacks_oracle.c ${tests}/stacks_harness.c LIBS ${lib})
    target_compile_definitions(test_stacks_oracle PRIVATE EU_STACK="${EU_STACK}")
    add_dependencies(test_stacks_oracle ${targets})
  endif()
endfunction()
