# Fuzz targets, see base/fuzz/fuzz.h: programs of libFuzzer's with -DWEDGE_FUZZ=ON (clang; the preset "fuzz"), tests that
# go through the corpus in every other build.

option(WEDGE_FUZZ "Build the fuzz targets with libFuzzer; needs clang" OFF)
if(WEDGE_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "libFuzzer comes with clang: cmake --preset fuzz, or -DCMAKE_C_COMPILER=clang")
  endif()
  # Without pointer-overflow: the macros of glibc's obstack.h count from a null pointer.
  target_compile_options(wedge-instrument INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined -O1)
  target_link_options(wedge-instrument INTERFACE -fsanitize=address,undefined)
  add_custom_target(fuzz) # all of them
endif()

# wedge_add_fuzz(NAME LIBS …): the target fuzz/NAME.c of this folder.
function(wedge_add_fuzz name)
  if(NOT WEDGE_FUZZ AND NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(A "" "" "LIBS" ${ARGN})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  add_executable(fuzz-${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}.c ${PROJECT_SOURCE_DIR}/base/fuzz/fuzz.c)
  target_link_libraries(fuzz-${name} PRIVATE wedge-instrument ${A_LIBS})
  set_target_properties(fuzz-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  if(WEDGE_FUZZ)
    target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzz fuzz-${name})
    # ci/fuzz reads it: which corpus belongs to which target.
    file(APPEND ${PROJECT_BINARY_DIR}/fuzz.targets "${name} ${corpus}\n")
  else()
    target_sources(fuzz-${name} PRIVATE ${PROJECT_SOURCE_DIR}/base/fuzz/replay.c)
    add_test(NAME fuzz.${name} COMMAND fuzz-${name} ${corpus})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS unit TIMEOUT 120)
  endif()
endfunction()
if(WEDGE_FUZZ)
  file(WRITE ${PROJECT_BINARY_DIR}/fuzz.targets "")
endif()
