# Helpers that every folder's CMakeLists.txt uses.

# The compiler follows LLVM: no exceptions, no RTTI. The runtime does not use
# these flags, so they are a target property and not global.
add_library(sputnik_compiler_flags INTERFACE)
target_compile_options(sputnik_compiler_flags INTERFACE
  -fno-exceptions -fno-rtti -Wall -Wextra -Wno-unused-parameter)
separate_arguments(sputnik_llvm_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
target_compile_definitions(sputnik_compiler_flags INTERFACE ${sputnik_llvm_definitions})

# The linker that comes with the compiler: a tenth of the time of the system's.
add_link_options(-fuse-ld=lld)
# Debian keeps libMLIR outside the folders that are searched by themselves.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

# sputnik_add_library(<name> <sources>... [LIBS <libs>...] [MLIR])
# A static library of the compiler. With MLIR it links libMLIR and shares one
# precompiled header of MLIR's large headers.
function(sputnik_add_library name)
  cmake_parse_arguments(ARG "MLIR" "" "LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC sputnik_compiler_flags ${ARG_LIBS})
  if(ARG_MLIR)
    target_link_libraries(${name} PUBLIC MLIR LLVM)
    target_precompile_headers(${name} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/MLIRHeaders.h)
  else()
    target_link_libraries(${name} PUBLIC LLVM)
  endif()
endfunction()

# sputnik_add_unittest(<name> <sources>... [LIBS <libs>...] [SHARDS <count>])
# A GoogleTest program, registered in CTest under its own name; with SHARDS as
# <name>-1 and so on, parts that may run at the same time.
function(sputnik_add_unittest name)
  if(NOT SPUTNIK_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "SHARDS" "LIBS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    SPUTNIK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(NOT ARG_SHARDS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 600)
    return()
  endif()
  foreach(shard RANGE 1 ${ARG_SHARDS})
    math(EXPR index "${shard} - 1")
    add_test(NAME ${name}-${shard} COMMAND ${name})
    set_tests_properties(${name}-${shard} PROPERTIES TIMEOUT 1200
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()
