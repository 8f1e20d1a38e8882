# BoringSSL, static and hidden, as the target boringssl_crypto.
#
# BORINGSSL_ROOT names the tree: by default Debian's source package, which conf/fetch-boringssl
# brings into the cache once. Two layouts are understood, neither needs Go or Perl:
# - Android's and Debian's: android-sources.cmake lists the sources, headers in src/include;
# - upstream's (since 2024): gen/sources.cmake lists them, headers in include.

set(BORINGSSL_ROOT "" CACHE PATH "A BoringSSL source tree; empty: Debian's source package")
set(SECRETMEM_CACHE_DIR "$ENV{SECRETMEM_CACHE_DIR}" CACHE PATH
  "Where fetched sources are kept; empty: $XDG_CACHE_HOME/secretmem-pkcs11")

set(boringssl_root ${BORINGSSL_ROOT})
if(NOT boringssl_root)
  execute_process(
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/fetch-boringssl ${SECRETMEM_CACHE_DIR}
    OUTPUT_VARIABLE boringssl_root OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE fetch_result)
  if(NOT fetch_result EQUAL 0)
    message(FATAL_ERROR "BoringSSL's sources are not there: see what conf/fetch-boringssl said")
  endif()
endif()
get_filename_component(boringssl_root "${boringssl_root}" ABSOLUTE)

if(EXISTS ${boringssl_root}/android-sources.cmake)
  set(boringssl_include ${boringssl_root}/src/include)
  block(SCOPE_FOR VARIABLES PROPAGATE boringssl_sources)
    set(BORINGSSL_ROOT ${boringssl_root}/)
    include(${boringssl_root}/android-sources.cmake)
    set(architecture ${CMAKE_SYSTEM_PROCESSOR})
    if(architecture MATCHES "^(x86_64|amd64|AMD64)$")
      set(architecture x86_64)
    elseif(architecture MATCHES "^(aarch64|arm64)$")
      set(architecture aarch64)
    elseif(architecture MATCHES "^arm")
      set(architecture arm)
    elseif(architecture MATCHES "^i[3-6]86$")
      set(architecture x86)
    endif()
    set(boringssl_sources ${crypto_sources} ${crypto_sources_linux_${architecture}})
  endblock()
elseif(EXISTS ${boringssl_root}/gen/sources.cmake)
  set(boringssl_include ${boringssl_root}/include)
  block(SCOPE_FOR VARIABLES PROPAGATE boringssl_sources)
    include(${boringssl_root}/gen/sources.cmake)
    # Assembly for all architectures: each file guards itself.
    set(boringssl_sources
      ${BCM_SOURCES} ${BCM_SOURCES_ASM} ${CRYPTO_SOURCES} ${CRYPTO_SOURCES_ASM})
    list(TRANSFORM boringssl_sources PREPEND ${boringssl_root}/)
  endblock()
else()
  message(FATAL_ERROR
    "${boringssl_root} holds neither android-sources.cmake (Android's and Debian's layout) "
    "nor gen/sources.cmake (upstream's): not a BoringSSL tree this build understands")
endif()

# What is in the tree, for the log and for whoever has to know whether a fix is in.
set(boringssl_revision "unknown revision")
if(EXISTS ${boringssl_root}/BORINGSSL_REVISION)
  file(STRINGS ${boringssl_root}/BORINGSSL_REVISION boringssl_revision LIMIT_COUNT 1)
  string(SUBSTRING "${boringssl_revision}" 0 8 boringssl_revision)
elseif(EXISTS ${boringssl_root}/.git)
  execute_process(COMMAND git -C ${boringssl_root} describe --always --tags --dirty
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(described)
    set(boringssl_revision ${described})
  endif()
endif()
if(EXISTS ${boringssl_root}/SOURCE_VERSION)
  file(STRINGS ${boringssl_root}/SOURCE_VERSION boringssl_package LIMIT_COUNT 1)
  string(PREPEND boringssl_revision "${boringssl_package} ")
endif()
foreach(name OPENSSL_VERSION_NUMBER BORINGSSL_API_VERSION)
  set(${name}_found "unknown")
  foreach(header base.h crypto.h)
    file(STRINGS ${boringssl_include}/openssl/${header} line LIMIT_COUNT 1
      REGEX "^# *define +${name} +[0-9]")
    if(line MATCHES "${name} +([0-9a-fx]+)")
      set(${name}_found ${CMAKE_MATCH_1})
    endif()
  endforeach()
endforeach()
set(SECRETMEM_BORINGSSL_VERSION
  "${boringssl_revision} (OpenSSL ${OPENSSL_VERSION_NUMBER_found}, API ${BORINGSSL_API_VERSION_found})")
message(STATUS "BoringSSL: ${SECRETMEM_BORINGSSL_VERSION}, in ${boringssl_root}")

add_library(boringssl_crypto STATIC ${boringssl_sources})
set_target_properties(boringssl_crypto PROPERTIES
  C_EXTENSIONS ON
  CXX_STANDARD 17
  EXPORT_COMPILE_COMMANDS OFF)
target_include_directories(boringssl_crypto SYSTEM PUBLIC ${boringssl_include})
target_compile_definitions(boringssl_crypto
  PRIVATE BORINGSSL_IMPLEMENTATION $<$<COMPILE_LANGUAGE:C>:_XOPEN_SOURCE=700>
    # vault/random_source.h: a getrandom(2) that fails must not end the process.
    $<$<COMPILE_LANGUAGE:C,CXX>:syscall=secretmem_boringssl_syscall>
  PUBLIC SECRETMEM_BORINGSSL_VERSION="${SECRETMEM_BORINGSSL_VERSION}")
# vault/sliced_hash.cc: a long message lets signals and forks through while Ed25519 hashes it.
set(hashing ${boringssl_sources})
list(FILTER hashing INCLUDE REGEX "/curve25519/curve25519\\.(c|cc)$")
if(NOT hashing)
  message(FATAL_ERROR "BoringSSL's curve25519 is not where it was: see vault/sliced_hash.cc")
endif()
set_property(SOURCE ${hashing} APPEND PROPERTY
  COMPILE_DEFINITIONS SHA512_Update=secretmem_boringssl_sha512_update)
# Where the linker happens to put its loops would make key pairs and signatures 6 % slower or not.
set_property(SOURCE ${hashing} APPEND PROPERTY
  COMPILE_OPTIONS -falign-functions=64 -falign-loops=64)
# Optimised whatever the preset: unoptimised field arithmetic makes every test wait.
target_compile_options(boringssl_crypto PRIVATE
  $<$<COMPILE_LANGUAGE:C,CXX>:-O2;-fno-common;-fno-strict-aliasing;-w>
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions;-fno-rtti>)
target_link_libraries(boringssl_crypto PRIVATE Threads::Threads secretmem_hardening)
# ML-KEM is in upstream's tree since 2024 and not in Debian's: without it there is no such mechanism.
if(EXISTS ${boringssl_include}/openssl/mlkem.h)
  set(boringssl_has_ml_kem ON)
  target_compile_definitions(boringssl_crypto PUBLIC SECRETMEM_ML_KEM)
else()
  set(boringssl_has_ml_kem OFF)
endif()
# The same with X-Wing, since 2025.
if(EXISTS ${boringssl_include}/openssl/xwing.h)
  set(boringssl_has_xwing ON)
  target_compile_definitions(boringssl_crypto PUBLIC SECRETMEM_XWING)
else()
  set(boringssl_has_xwing OFF)
endif()
if(SECRETMEM_SANITIZE MATCHES "address")
  # GCC does not have the __has_feature by which BoringSSL notices.
  target_compile_definitions(boringssl_crypto PRIVATE OPENSSL_ASAN)
endif()
