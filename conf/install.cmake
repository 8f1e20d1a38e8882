# cmake --install: the module, its p11-kit registration, the default configuration.

set(SECRETMEM_MODULE_DIR ${CMAKE_INSTALL_LIBDIR}/pkcs11)
install(TARGETS secretmem-pkcs11 LIBRARY DESTINATION ${SECRETMEM_MODULE_DIR})

cmake_path(ABSOLUTE_PATH SECRETMEM_MODULE_DIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}
  OUTPUT_VARIABLE SECRETMEM_MODULE_PATH)
string(APPEND SECRETMEM_MODULE_PATH /secretmem-pkcs11.so)
configure_file(conf/secretmem-pkcs11.module.in secretmem-pkcs11.module @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/secretmem-pkcs11.module
  DESTINATION ${CMAKE_INSTALL_DATADIR}/p11-kit/modules)

if(EXISTS ${PROJECT_SOURCE_DIR}/conf/config.toml)
  install(FILES conf/config.toml DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/secretmem-pkcs11)
endif()
