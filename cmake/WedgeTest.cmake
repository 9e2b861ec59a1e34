# wedge_add_test: a CTest test that cannot hang.
#
#   find_package(wedge REQUIRED)
#   wedge_add_test(NAME queue COMMAND test_queue --fast [STALL 30s] [LIMIT 10min] [OPTIONS --no-agent …]
#                  [WORKING_DIRECTORY DIR])
#
# As add_test, but the command runs under `wedge watch`: a hang of the whole ends it within a second or so, with exit
# status 124, and the log says who waits for whom. A report with all stacks stands in wedge-out/NAME of the build folder,
# report.html among them, which CTest hands to CDash for a test that failed (ATTACHED_FILES_ON_FAIL). COMMAND may begin with
# an executable target, as in add_test. LIMIT ends the test in any case and should be shorter than CTest's TIMEOUT,
# which kills wedge without a word.
function(wedge_add_test)
  cmake_parse_arguments(PARSE_ARGV 0 A "" "NAME;STALL;LIMIT;WORKING_DIRECTORY" "COMMAND;OPTIONS")
  if(NOT A_NAME OR NOT A_COMMAND)
    message(FATAL_ERROR "wedge_add_test: NAME and COMMAND are needed")
  endif()
  if(A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "wedge_add_test(${A_NAME}): what is ${A_UNPARSED_ARGUMENTS}?")
  endif()
  list(POP_FRONT A_COMMAND program)
  if(TARGET ${program})
    set(program $<TARGET_FILE:${program}>)
  endif()
  set(out ${CMAKE_CURRENT_BINARY_DIR}/wedge-out/${A_NAME})
  set(options -q -o ${out})
  foreach(option STALL LIMIT)
    if(A_${option})
      string(TOLOWER ${option} word)
      list(APPEND options --${word} ${A_${option}})
    endif()
  endforeach()
  set(where)
  if(A_WORKING_DIRECTORY)
    set(where WORKING_DIRECTORY ${A_WORKING_DIRECTORY})
  endif()
  add_test(NAME ${A_NAME} COMMAND ${wedge_PROGRAM} watch ${options} ${A_OPTIONS} -- ${program} ${A_COMMAND} ${where})
  set_tests_properties(${A_NAME} PROPERTIES ATTACHED_FILES_ON_FAIL "${out}/report.html;${out}/report.json")
endfunction()
