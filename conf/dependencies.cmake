# The libraries that come from the system, as targets.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# Headers only: the module implements what p11-kit's pkcs11.h declares and links nothing of p11-kit.
pkg_check_modules(P11_KIT REQUIRED p11-kit-1)
add_library(p11_kit_headers INTERFACE)
target_include_directories(p11_kit_headers SYSTEM INTERFACE ${P11_KIT_INCLUDE_DIRS})

# toml++ is used header-only, so that its shared library is not needed at run time.
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)
add_library(tomlplusplus_headers INTERFACE)
target_include_directories(tomlplusplus_headers SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR})
target_compile_definitions(tomlplusplus_headers INTERFACE TOML_HEADER_ONLY=1)

# SQLite is linked statically, so that the host's own SQLite, its global state and its file locks
# stay apart from ours. A shared library here would silently undo that: ask for the archive by name.
find_library(SQLITE3_STATIC_LIBRARY libsqlite3.a REQUIRED)
find_path(SQLITE3_INCLUDE_DIR sqlite3.h REQUIRED)
add_library(sqlite3_static STATIC IMPORTED GLOBAL)
set_target_properties(sqlite3_static PROPERTIES IMPORTED_LOCATION ${SQLITE3_STATIC_LIBRARY})
target_include_directories(sqlite3_static SYSTEM INTERFACE ${SQLITE3_INCLUDE_DIR})
target_link_libraries(sqlite3_static INTERFACE Threads::Threads m ${CMAKE_DL_LIBS})
