# Runtime packs: for each target that executables can be made for, one folder
# lib/sputnik/<arch>-linux-gnu in the build and install trees with the runtime
# and every start file and archive of the C and C++ libraries that a static link
# needs. `sputnik compile` therefore needs no compiler and no system library.

# Where scripts/setup unpacks Debian's development packages of another
# architecture; a pack for which it is missing is left out.
set(SPUTNIK_SYSROOTS ${PROJECT_SOURCE_DIR}/build/sysroot CACHE PATH
    "Folder with one sysroot <arch>-linux-gnu for each foreign architecture")

# _sputnik_find(<variable> <file> <flags>...): the path the compiler would link.
function(_sputnik_find variable file)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} ${ARGN} -print-file-name=${file}
                  OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT IS_ABSOLUTE "${path}")
    set(${variable} "" PARENT_SCOPE)
    return()
  endif()
  file(REAL_PATH "${path}" path)
  # Debian's libm.a is a linker script on x86-64 that names the real archive.
  file(READ ${path} start LIMIT 8 HEX)
  if(path MATCHES "\\.a$" AND NOT start STREQUAL "213c617263683e0a")
    file(READ ${path} script)
    string(REGEX MATCH "GROUP *\\( *([^ ]+\\.a)" match "${script}")
    set(path ${CMAKE_MATCH_1})
  endif()
  set(${variable} ${path} PARENT_SCOPE)
endfunction()

# _sputnik_pack_flags(<variable> <arch>): how what is linked into executables for
# an architecture is compiled.
function(_sputnik_pack_flags variable arch)
  set(triple ${arch}-linux-gnu)
  set(flags --target=${triple} -std=c++20 -O2 -DNDEBUG -Wall -Wextra -fno-pie
      -ffunction-sections -fdata-sections -pthread
      -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -I${PROJECT_SOURCE_DIR})
  if(NOT arch STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
    list(APPEND flags --sysroot=${SPUTNIK_SYSROOTS}/${triple})
  endif()
  set(${variable} "${flags}" PARENT_SCOPE)
endfunction()

# sputnik_pack_object(<arch> <source> <object>): compiles one source as those of
# the runtime are.
function(sputnik_pack_object arch source object)
  _sputnik_pack_flags(flags ${arch})
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${source})
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER} ${flags} -MD -MF ${object}.d -c ${source}
            -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d
    COMMENT "Building ${arch}-linux-gnu ${name}" VERBATIM)
endfunction()

# _sputnik_add_runtime_pack(<arch>): adds the target runtime-pack-<arch>, if all
# files that it needs exist.
function(_sputnik_add_runtime_pack arch)
  set(triple ${arch}-linux-gnu)
  _sputnik_pack_flags(flags ${arch})

  set(folder ${PROJECT_BINARY_DIR}/lib/sputnik/${triple})
  set(files)
  foreach(name IN ITEMS crt1.o crti.o crtbeginT.o crtend.o crtn.o libstdc++.a
                        libm.a libgcc.a libgcc_eh.a libc.a libutf8proc.a)
    _sputnik_find(path ${name} ${flags})
    if(NOT path)
      message(STATUS "No runtime for ${triple}: ${name} not found; scripts/setup fetches it")
      return()
    endif()
    add_custom_command(OUTPUT ${folder}/${name} DEPENDS ${path}
      COMMAND ${CMAKE_COMMAND} -E copy ${path} ${folder}/${name}
      COMMENT "Copying ${triple} ${name}" VERBATIM)
    list(APPEND files ${folder}/${name})
  endforeach()

  # For executables that open the C library when they start, because they open
  # others: those for GPUs.
  set(loader_x86_64 ld-linux-x86-64.so.2)
  set(loader_aarch64 ld-linux-aarch64.so.1)
  foreach(name IN ITEMS crtbegin.o libc.so.6 libm.so.6 libc_nonshared.a
                        ${loader_${arch}})
    _sputnik_find(path ${name} ${flags})
    if(NOT path)
      message(STATUS "No executables for GPUs on ${triple}: ${name} not found")
      break()
    endif()
    add_custom_command(OUTPUT ${folder}/${name} DEPENDS ${path}
      COMMAND ${CMAKE_COMMAND} -E copy ${path} ${folder}/${name}
      COMMENT "Copying ${triple} ${name}" VERBATIM)
    list(APPEND files ${folder}/${name})
  endforeach()

  set(objects)
  foreach(source IN LISTS SPUTNIK_RUNTIME_SOURCES)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${triple}/${source}.o)
    get_filename_component(object_folder ${object} DIRECTORY)
    file(MAKE_DIRECTORY ${object_folder})
    sputnik_pack_object(${arch} ${PROJECT_SOURCE_DIR}/runtime/${source} ${object})
    list(APPEND objects ${object})
  endforeach()
  set(archive ${folder}/libsputnik_runtime.a)
  add_custom_command(OUTPUT ${archive}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
    COMMAND ${LLVM_TOOLS_BINARY_DIR}/llvm-ar rcsD ${archive} ${objects}
    DEPENDS ${objects} COMMENT "Archiving ${triple} runtime" VERBATIM)
  add_custom_target(runtime-pack-${arch} DEPENDS ${archive} ${files})
  install(FILES ${archive} ${files} DESTINATION lib/sputnik/${triple})
endfunction()

# sputnik_add_runtime_packs(<arch>...): adds the target sputnik-runtime-packs,
# part of `all`, and sets SPUTNIK_RUNTIME_PACKS to the architectures that have
# one.
function(sputnik_add_runtime_packs)
  add_custom_target(sputnik-runtime-packs ALL)
  set(packs)
  foreach(arch IN LISTS ARGN)
    _sputnik_add_runtime_pack(${arch})
    if(TARGET runtime-pack-${arch})
      list(APPEND packs ${arch})
      add_dependencies(sputnik-runtime-packs runtime-pack-${arch})
    endif()
  endforeach()
  set(SPUTNIK_RUNTIME_PACKS "${packs}" CACHE INTERNAL "Targets with a runtime pack")
endfunction()
