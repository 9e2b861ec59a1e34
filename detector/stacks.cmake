# Tests of the stacks: what stacks/capture.h promises, from the stop to the names.
# Included by detector/CMakeLists.txt, which owns the library.
set(WEDGE_STACKS_DIR ${CMAKE_CURRENT_LIST_DIR})

# wedge_add_stacks_target(NAME OPTIONS … LINK …): the same blocked program, built in one more way. Never
# instrumented: it stands for other people's programs.
function(wedge_add_stacks_target name)
  cmake_parse_arguments(A "" "SOURCE" "OPTIONS;LINK" ${ARGN})
  if(NOT A_SOURCE)
    set(A_SOURCE stacks_target.c)
  endif()
  add_executable(${name} ${WEDGE_STACKS_DIR}/tests/programs/${A_SOURCE})
  target_link_libraries(${name} PRIVATE Threads::Threads)
  # What the build type and wedge-flags say about optimisation, frame pointers and debug information must not leak into
  # what is being tested: the flags of our own code come last, and would win.
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_compile_options(${name} PRIVATE -Wall -Wextra -g -fno-lto -U_FORTIFY_SOURCE ${A_OPTIONS})
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

  wedge_add_stacks_target(stacks_odd_o0 SOURCE stacks_odd.c OPTIONS -O0)
  wedge_add_stacks_target(stacks_odd_o2 SOURCE stacks_odd.c OPTIONS -O2 -fomit-frame-pointer)
  wedge_add_stacks_target(stacks_odd_os SOURCE stacks_odd.c OPTIONS -Os -fomit-frame-pointer)
  wedge_add_stacks_target(stacks_odd_lto SOURCE stacks_odd.c OPTIONS -O3 -fomit-frame-pointer -flto LINK -flto -O3)
  wedge_add_stacks_target(stacks_odd_cf SOURCE stacks_odd.c OPTIONS -O2 -fomit-frame-pointer -fcf-protection=full)
  wedge_add_stacks_target(stacks_odd_now SOURCE stacks_odd.c OPTIONS -O2 -fno-plt -fomit-frame-pointer LINK -Wl,-z,now)
  wedge_add_stacks_target(stacks_odd_static
    SOURCE stacks_odd.c OPTIONS -O2 -fomit-frame-pointer -fno-pie LINK -static -no-pie)
  # As lld lays it out: the text begins in the middle of a page.
  set(bare -O2 -ffreestanding -fno-pie -fno-stack-protector)
  set(bare_link -nostdlib -static -no-pie -Wl,--section-start=.text=0x401020)
  wedge_add_stacks_target(stacks_bare SOURCE stacks_bare.c OPTIONS ${bare} -fomit-frame-pointer LINK ${bare_link})
  wedge_add_stacks_target(stacks_bare_no_cfi
    SOURCE stacks_bare.c
    OPTIONS ${bare} -g0 -fno-omit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables
    LINK ${bare_link})
  # Assembled and linked by hand: a 64-bit Debian has no 32-bit libc.
  set(program_32 ${PROJECT_BINARY_DIR}/tests/stacks_32)
  add_custom_command(
    OUTPUT ${program_32}
    COMMAND ${CMAKE_C_COMPILER} -m32 -nostdlib -static -no-pie -o ${program_32} ${WEDGE_STACKS_DIR}/tests/programs/stacks_32.S
    DEPENDS ${WEDGE_STACKS_DIR}/tests/programs/stacks_32.S)
  add_custom_target(stacks_32 DEPENDS ${program_32})
  find_program(WEDGE_CXX NAMES g++ c++ REQUIRED)
  set(program_cxx ${PROJECT_BINARY_DIR}/tests/stacks_cxx)
  add_custom_command(
    OUTPUT ${program_cxx}
    COMMAND ${WEDGE_CXX} -D_GNU_SOURCE -Wall -Wextra -g -O2 -fomit-frame-pointer -Wl,--build-id=sha1 -o ${program_cxx}
            ${WEDGE_STACKS_DIR}/tests/programs/stacks_cxx.cc
    DEPENDS ${WEDGE_STACKS_DIR}/tests/programs/stacks_cxx.cc)
  add_custom_target(stacks_cxx DEPENDS ${program_cxx})
  set(odd_targets
    stacks_odd_o0 stacks_odd_o2 stacks_odd_os stacks_odd_lto stacks_odd_cf stacks_odd_now stacks_odd_static
    stacks_bare stacks_bare_no_cfi stacks_32 stacks_cxx)

  set(targets
    stacks_target_plain stacks_target_o2 stacks_target_static stacks_target_static_pie stacks_target_no_hdr
    stacks_target_debug_frame stacks_target_no_cfi stacks_target_stripped)

  set(tests ${WEDGE_STACKS_DIR}/tests)
  wedge_add_unit_test(test_target_memory SOURCES ${tests}/test_target_memory.c LIBS ${lib})
  wedge_add_unit_test(test_capture SOURCES ${tests}/test_capture.c ${tests}/stacks_harness.c LIBS ${lib})
  wedge_add_unit_test(test_symbols SOURCES ${tests}/test_symbols.c ${tests}/stacks_harness.c LIBS ${lib})
  wedge_add_unit_test(test_elf_debug SOURCES ${tests}/test_elf_debug.c ${tests}/stacks_harness.c LIBS ${lib})
  add_dependencies(test_elf_debug ${targets})
  wedge_add_unit_test(test_split_dwarf SOURCES ${tests}/test_split_dwarf.c ${tests}/stacks_harness.c LIBS ${lib})
  target_compile_definitions(test_split_dwarf PRIVATE
    STACKS_CC="${CMAKE_C_COMPILER}" STACKS_SOURCE="${tests}/programs/stacks_target.c")
  wedge_add_unit_test(test_stacks_odd SOURCES ${tests}/test_stacks_odd.c ${tests}/stacks_harness.c LIBS ${lib})
  wedge_add_unit_test(test_walk SOURCES ${tests}/test_walk.c ${tests}/stacks_harness.c LIBS ${lib})
  add_dependencies(test_walk ${targets} ${odd_targets})
  # So that the walk leads through the dynamic linker's lazy binding.
  target_link_options(test_stacks_odd PRIVATE -Wl,-z,lazy)
  add_dependencies(test_stacks_odd ${odd_targets})
  add_dependencies(test_capture ${targets})
  add_dependencies(test_symbols ${targets} ${odd_targets})
  # The oracle is part of the comparison, not of wedge: without it there is nothing to compare with.
  find_program(EU_STACK eu-stack)
  if(EU_STACK)
    wedge_add_unit_test(test_stacks_oracle SOURCES ${tests}/test_stacks_oracle.c ${tests}/stacks_harness.c LIBS ${lib})
    target_compile_definitions(test_stacks_oracle PRIVATE EU_STACK="${EU_STACK}")
    add_dependencies(test_stacks_oracle ${targets} ${odd_targets})
  endif()
endfunction()
