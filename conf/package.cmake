# Debian packages, one per component: cpack --config build/release/CPackConfig.cmake

if("$ENV{DEBEMAIL}" STREQUAL "")
  set(maintainer "Whoever built this <root@localhost>")
else()
  set(maintainer "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
set(SECRETMEM_MAINTAINER "${maintainer}" CACHE STRING "The packages' maintainer: Name <address>")
# SOURCE_DATE_EPOCH, where set, makes this reproducible.
string(TIMESTAMP SECRETMEM_BUILD_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)

include(conf/install.cmake)

# What every package of Debian carries.
set(notices "")
foreach(notice ${boringssl_root}/LICENSE ${boringssl_root}/src/LICENSE
    /usr/share/doc/libtomlplusplus-dev/copyright /usr/share/doc/libcli11-dev/copyright
    /usr/share/doc/nlohmann-json3-dev/copyright)
  if(EXISTS ${notice})
    file(READ ${notice} text)
    cmake_path(GET notice PARENT_PATH of)
    cmake_path(GET of FILENAME of)
    if(notice MATCHES "LICENSE$")
      set(of BoringSSL)
    endif()
    string(APPEND notices "\n---- ${of} ----\n\n${text}")
  endif()
endforeach()
file(READ ${secretmem_templates}/copyright.in copyright)
file(WRITE ${secretmem_written}/copyright "${copyright}${notices}")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "PKCS#11 token with keys in memfd_secret memory")
set(CPACK_PACKAGE_CONTACT "${SECRETMEM_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
# The one that counts with CPACK_SET_DESTDIR; the build tree's own where it is not set.
set(CPACK_INSTALL_PREFIX /usr)
# Files outside the prefix (/etc), and scripts that look at the prefix, need the real one.
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_BINARY_DIR}/packages)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_COMPONENTS_ALL module tool dev doc)

# secretmem_package(COMPONENT NAME SECTION DESCRIPTION [DEPENDS text] [RECOMMENDS text] [SUGGESTS text]
# [ALL])
macro(secretmem_package component name section description)
  cmake_parse_arguments(package "ALL" "DEPENDS;RECOMMENDS;SUGGESTS" "" ${ARGN})
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
  set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "${package_DEPENDS}")
  set(CPACK_DEBIAN_${upper}_PACKAGE_RECOMMENDS "${package_RECOMMENDS}")
  set(CPACK_DEBIAN_${upper}_PACKAGE_SUGGESTS "${package_SUGGESTS}")
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${description}")
  if(package_ALL)
    set(CPACK_DEBIAN_${upper}_PACKAGE_ARCHITECTURE all)
  else()
    set(CPACK_DEBIAN_${upper}_PACKAGE_SHLIBDEPS ON)
  endif()
  install(FILES ${secretmem_written}/copyright DESTINATION share/doc/${name}
    COMPONENT ${component})
  secretmem_install_written(${component} ${secretmem_templates}/changelog.in share/doc/${name}
    COMPRESS)
  secretmem_install_written(${component} ${secretmem_templates}/lintian-overrides.in
    share/lintian/overrides RENAME ${name} SET SECRETMEM_PACKAGE ${name})
endmacro()

secretmem_package(module secretmem-pkcs11-module libs
"This is the module: a PKCS#11 provider in software whose private and secret
keys lie in memory that the kernel takes out of its own view, so that no core
dump, no other process and not even root reading /proc sees them. Programs
that use PKCS#11 load it by its path, or through p11-kit, with which it is
registered.
.
It needs Linux 6.5, or 5.14 booted with secretmem.enable=1."
  RECOMMENDS "secretmem-pkcs11 (= ${PROJECT_VERSION})"
  SUGGESTS "opensc, p11-kit")
set(CPACK_DEBIAN_MODULE_PACKAGE_CONTROL_EXTRA ${secretmem_templates}/conffiles)
set(CPACK_DEBIAN_MODULE_PACKAGE_CONTROL_STRICT_PERMISSION ON)

secretmem_package(tool secretmem-pkcs11 utils
"This is the command line tool: it says whether secret memory works on a
machine and what mends it where it does not, makes, lists, removes, backs up
and restores tokens, and looks for what commonly goes wrong with the programs
that use the module."
  DEPENDS "secretmem-pkcs11-module (= ${PROJECT_VERSION})"
  SUGGESTS "secretmem-pkcs11-doc, opensc")

secretmem_package(dev secretmem-pkcs11-dev libdevel
"This is for developers: a pkg-config file with the module's path, and the
header with its vendor-defined attributes."
  DEPENDS "secretmem-pkcs11-module (= ${PROJECT_VERSION}), libp11-kit-dev")

secretmem_package(doc secretmem-pkcs11-doc doc
"This is the documentation: how programs are set up to use the module, what it
protects from, how it is built, how a mechanism is added."
  ALL)

include(CPack)
