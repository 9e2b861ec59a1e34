# What every target of the house shares: language, warnings, sanitizers,
# coverage, and the three ways to declare something (library, program, test).

option(WEDGE_WERROR "Warnings are errors" OFF)
option(WEDGE_COVERAGE "Instrument for gcov" OFF)
set(WEDGE_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize= (address,undefined or thread)")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# wedge_link_archives(TARGET NAME…): an imported library by its archives, with those that it needs itself, where all of them are
# there: each shared library costs every start of wedge, `dump` too, a tenth of a millisecond.
function(wedge_link_archives target)
  set(archives "")
  foreach(name ${ARGN})
    find_library(WEDGE_ARCHIVE_${name} NAMES lib${name}.a)
    mark_as_advanced(WEDGE_ARCHIVE_${name})
    if(NOT WEDGE_ARCHIVE_${name})
      return()
    endif()
    list(APPEND archives ${WEDGE_ARCHIVE_${name}})
  endforeach()
  set_property(TARGET ${target} PROPERTY INTERFACE_LINK_LIBRARIES ${archives} ${CMAKE_DL_LIBS})
endfunction()

# Flags of all our code. The agent takes wedge-flags alone: it runs inside
# other people's programs and must not carry a sanitizer or a counter.
add_library(wedge-flags INTERFACE)
target_compile_definitions(wedge-flags INTERFACE _GNU_SOURCE)
target_include_directories(wedge-flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/base/include)
target_compile_options(wedge-flags INTERFACE
  -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wpointer-arith -Wwrite-strings
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wmissing-declarations
  -Wno-missing-field-initializers
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> # every text has a bound and is cut there by design; gcc only sees it at -O2
  -fno-common -fno-omit-frame-pointer -g
  $<$<BOOL:${WEDGE_WERROR}>:-Werror>)

add_library(wedge-instrument INTERFACE)
target_link_libraries(wedge-instrument INTERFACE wedge-flags)
if(WEDGE_SANITIZE)
  target_compile_options(wedge-instrument INTERFACE -fsanitize=${WEDGE_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(wedge-instrument INTERFACE -fsanitize=${WEDGE_SANITIZE})
endif()
if(WEDGE_COVERAGE)
  target_compile_options(wedge-instrument INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(wedge-instrument INTERFACE --coverage
    # The agent looks __gcov_dump up by name before a deliberate kill: SIGKILL leaves no counters.
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:LINKER:-u,__gcov_dump,--export-dynamic-symbol=__gcov_dump>)
  target_compile_definitions(wedge-instrument INTERFACE WEDGE_COVERAGE=1)
endif()

# wedge_add_unit_test(NAME SOURCES a.c … LIBS x y …): one Check binary, label unit.
# wedge_add_program(NAME SOURCES … LIBS …): a target program for tests, built beside them.
function(wedge_add_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE wedge-instrument ${A_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
endfunction()

if(BUILD_TESTING)
  pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
endif()
function(wedge_add_unit_test name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;LIBS;LABELS" ${ARGN})
  wedge_add_program(${name} SOURCES ${A_SOURCES} LIBS ${A_LIBS} PkgConfig::CHECK Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT 120)
endfunction()
