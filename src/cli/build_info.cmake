# Writes build_info.h, at every build, when what it says has changed: cmake -D SOURCE=... -D OUTPUT=... -P.
find_program(GIT git)
set(commit "")
if(GIT)
  execute_process(COMMAND ${GIT} log -1 --format=%h,\ %cs WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND ${GIT} status --porcelain --untracked-files=no WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE changes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(commit AND changes)
    string(APPEND commit ", changed")
  endif()
endif()
if(NOT commit)
  set(commit "commit unknown")  # not built in a clone
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "// Made by src/cli/build_info.cmake.\n#define GDA_COMMIT \"${commit}\"\n" @ONLY)
