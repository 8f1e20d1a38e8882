# cmake --install: the module, the tool, what registers and configures them, manual pages, documents.
#
# Files that name the module's path are written when they are installed: only then is the prefix
# known, and packages are made from the same build tree.

include(conf/manual.cmake)

set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(secretmem_templates ${PROJECT_SOURCE_DIR}/conf/package)
set(secretmem_written ${PROJECT_BINARY_DIR}/installed)

find_program(GZIP_PROGRAM gzip REQUIRED)

# secretmem_install_written(COMPONENT TEMPLATE DESTINATION [RENAME name] [COMPRESS] [SET name value])
# installs a template with its @VARIABLES@ filled in, DESTINATION below the prefix.
function(secretmem_install_written component template destination)
  cmake_parse_arguments(PARSE_ARGV 3 arg "COMPRESS" "RENAME" "SET")
  if(NOT arg_RENAME)
    cmake_path(GET template FILENAME arg_RENAME)
    string(REGEX REPLACE "\\.in$" "" arg_RENAME ${arg_RENAME})
  endif()
  set(written ${secretmem_written}/${component}/${arg_RENAME})
  set(code "
    set(PROJECT_VERSION \"${PROJECT_VERSION}\")
    set(SECRETMEM_MODULE_PATH \"\${CMAKE_INSTALL_PREFIX}/${SECRETMEM_MODULE_DIR}/secretmem-pkcs11.so\")
    set(SECRETMEM_MAINTAINER [==[${SECRETMEM_MAINTAINER}]==])
    set(SECRETMEM_BUILD_DATE [==[${SECRETMEM_BUILD_DATE}]==])")
  if(arg_SET)
    list(POP_FRONT arg_SET name)
    string(APPEND code "\n    set(${name} [==[${arg_SET}]==])")
  endif()
  string(APPEND code "
    configure_file(\"${template}\" \"${written}\" @ONLY)")
  if(arg_COMPRESS)
    string(APPEND code "
    execute_process(COMMAND \"${GZIP_PROGRAM}\" -9nkf \"${written}\" COMMAND_ERROR_IS_FATAL ANY)")
    string(APPEND written .gz)
  endif()
  install(CODE "${code}
    file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${destination}\" TYPE FILE
      PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ FILES \"${written}\")"
    COMPONENT ${component})
endfunction()

# Module.
install(TARGETS secretmem-pkcs11 LIBRARY DESTINATION ${SECRETMEM_MODULE_DIR} COMPONENT module
  PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
set(doc share/doc/secretmem-pkcs11-module)
secretmem_install_written(module ${PROJECT_SOURCE_DIR}/conf/secretmem-pkcs11.module.in
  share/p11-kit/modules)
secretmem_settings(settings ${PROJECT_SOURCE_DIR}/conf/config.toml)
secretmem_install_written(module ${secretmem_templates}/man/secretmem-pkcs11.toml.5.in
  share/man/man5 COMPRESS SET SETTINGS "${settings}")
foreach(example openssl-engine.cnf.in openssl-provider.cnf.in systemd-memlock.conf)
  secretmem_install_written(module ${secretmem_templates}/${example} ${doc}/examples)
endforeach()
# The module reads /etc, whatever the prefix: under another one the file is an example.
install(CODE "
  set(directory \"\${CMAKE_INSTALL_PREFIX}/${doc}/examples\")
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
    set(directory /etc/secretmem-pkcs11)
  endif()
  file(INSTALL DESTINATION \"\${directory}\" TYPE FILE
    PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ
    FILES \"${PROJECT_SOURCE_DIR}/conf/config.toml\")" COMPONENT module)

# Tool.
install(TARGETS secretmem-pkcs11-tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tool)
secretmem_install_written(tool ${secretmem_templates}/man/secretmem-pkcs11.1.in share/man/man1
  COMPRESS)

# What a program that uses the module by name may want: its path, its vendor-defined attributes.
secretmem_install_written(dev ${secretmem_templates}/secretmem-pkcs11.pc.in
  ${SECRETMEM_LIBRARY_DIR}/pkgconfig)
file(READ mechanisms/vendor.h vendor)
string(REPLACE "#include \"mechanisms/cryptoki.h\"" "#include <p11-kit/pkcs11.h>" vendor "${vendor}")
file(CONFIGURE OUTPUT ${secretmem_written}/vendor.h CONTENT "${vendor}" @ONLY)
install(FILES ${secretmem_written}/vendor.h DESTINATION include/secretmem-pkcs11 COMPONENT dev)

# Documents.
install(FILES README.md DESTINATION share/doc/secretmem-pkcs11-doc COMPONENT doc)
install(DIRECTORY docs DESTINATION share/doc/secretmem-pkcs11-doc COMPONENT doc
  FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
