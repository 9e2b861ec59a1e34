# Tests over tables of cases (tests/cases.h), each of which comes twice: once through in every run of the tests, and, under
# the label twenty, twenty times over. `ci/twenty` runs those in turns and prints how many times each case was right.

# wedge_add_cases_test(NAME FACTORY target|path [LIBS …])
function(wedge_add_cases_test name factory)
  cmake_parse_arguments(A "" "" "LIBS" ${ARGN})
  wedge_add_unit_test(${name} SOURCES tests/${name}.c tests/harness.c tests/cases.c
    LIBS wedge::detector ${A_LIBS} LABELS integration)
  if(TARGET ${factory})
    target_compile_definitions(${name} PRIVATE WEDGE_FACTORY="$<TARGET_FILE:${factory}>")
    add_dependencies(${name} ${factory})
  else()
    target_compile_definitions(${name} PRIVATE WEDGE_FACTORY="${factory}")
  endif()
  if(NOT BUILD_TESTING)
    return()
  endif()
  add_test(NAME ${name}-20 COMMAND ${name})
  set_tests_properties(${name}-20 PROPERTIES LABELS "nightly;twenty" TIMEOUT 3600
    ENVIRONMENT "WEDGE_CASES_REPEAT=20;CK_TIMEOUT_MULTIPLIER=20")
endfunction()
