# Where things are installed, below the prefix. Debian's directories for an architecture, whatever the
# prefix, so that a package can be made from any build tree.
if(NOT CMAKE_LIBRARY_ARCHITECTURE)
  set(SECRETMEM_LIBRARY_DIR ${CMAKE_INSTALL_LIBDIR})
else()
  set(SECRETMEM_LIBRARY_DIR lib/${CMAKE_LIBRARY_ARCHITECTURE})
endif()
set(SECRETMEM_MODULE_DIR ${SECRETMEM_LIBRARY_DIR}/pkcs11)
