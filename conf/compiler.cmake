# How our own code is compiled, and what the sanitizer presets add to everything.

set(SECRETMEM_SANITIZE "" CACHE STRING
  "Sanitizers for everything that is built: address,undefined or thread")

option(SECRETMEM_FUZZ "Build the fuzzers, and nothing else of the tests; for clang" OFF)

# secretmem_options: what every target of ours compiles with; third-party code does not.
add_library(secretmem_options INTERFACE)
target_include_directories(secretmem_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(secretmem_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wconversion;-Wnon-virtual-dtor;-Werror>)

set(quickly_built $<BOOL:$<TARGET_PROPERTY:SECRETMEM_QUICKLY_BUILT>>)

# secretmem_hardening: what every object that may end up in the module compiles with.
add_library(secretmem_hardening INTERFACE)
if(SECRETMEM_SANITIZE)
  target_compile_options(secretmem_hardening INTERFACE -fno-omit-frame-pointer)
  string(REPLACE "," ";" sanitizers "${SECRETMEM_SANITIZE}")
  # The undefined-behaviour checks are for our code; a library's are its own business.
  list(REMOVE_ITEM sanitizers undefined)
  if(sanitizers)
    add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${sanitizers}>)
  endif()
  # GCC's own manual: with sanitizers it warns of what is initialised all the same.
  target_compile_options(secretmem_options INTERFACE
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${SECRETMEM_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND SECRETMEM_SANITIZE MATCHES "address")
    # GCC's name for what clang says by __has_feature: the secret stacks announce themselves by it.
    add_compile_definitions(__SANITIZE_ADDRESS__=1)
  endif()
  if(SECRETMEM_SANITIZE MATCHES "undefined")
    target_compile_options(secretmem_options INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=undefined;-fno-sanitize-recover=undefined>)
  endif()
else()
  target_compile_options(secretmem_hardening INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-fstack-protector-strong>
    $<$<AND:$<CONFIG:RelWithDebInfo,Release>,$<COMPILE_LANGUAGE:C,CXX>,$<NOT:${quickly_built}>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>)
endif()
# Optimising the tests themselves takes longer than they run. Their targets say so by the property
# SECRETMEM_QUICKLY_BUILT; what they test is built as ever.
target_compile_options(secretmem_options INTERFACE $<${quickly_built}:-O0>)
if(SECRETMEM_FUZZ)
  # BoringSSL too: what its parsers do with an input is what leads the fuzzer on.
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=fuzzer-no-link>)
endif()
target_link_libraries(secretmem_options INTERFACE secretmem_hardening)
