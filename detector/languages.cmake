# Tests of programs that are not in C. A script starts the one or the other, so that both are one factory.
if(NOT BUILD_TESTING)
  return()
endif()
find_program(WEDGE_CXX NAMES g++ c++ REQUIRED)
set(factory_cxx ${PROJECT_BINARY_DIR}/tests/factory_cxx)
add_custom_command(
  OUTPUT ${factory_cxx}
  COMMAND ${WEDGE_CXX} -std=c++20 -Wall -Wextra -g -O1 -fno-optimize-sibling-calls -pthread -o ${factory_cxx}
          ${CMAKE_CURRENT_SOURCE_DIR}/tests/programs/factory_cxx.cpp
  DEPENDS tests/programs/factory_cxx.cpp)
add_custom_target(wedge-factory-cxx DEPENDS ${factory_cxx})
configure_file(tests/programs/factory_languages.in ${PROJECT_BINARY_DIR}/tests/factory_languages @ONLY)

wedge_add_cases_test(test_foreign ${PROJECT_BINARY_DIR}/tests/factory_languages)
add_dependencies(test_foreign wedge-factory-cxx)
