//===- ModuleImage.cpp - What is in a module of kernels -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ModuleImage.h"

#include "llvm/Object/ELF.h"

#include <algorithm>

namespace sputnik::testing {

using Elf = llvm::object::ELF64LE;

bool ModuleImage::isCubin(const void *image) {
  return llvm::StringRef(static_cast<const char *>(image), 4) ==
         llvm::StringRef(llvm::ELF::ElfMagic);
}

static std::optional<ModuleImage> readPtx(llvm::StringRef ptx) {
  if (!ptx.contains(".version"))
    return std::nullopt;
  ModuleImage module;
  const llvm::StringRef target = ptx.split(".target ").second;
  module.what = ("PTX for " + target.split('\n').first).str();
  for (llvm::StringRef rest = ptx.split(".entry ").second; !rest.empty();
       rest = rest.split(".entry ").second)
    module.kernels.insert(rest.split('(').first);
  return module;
}

/// The chip in the flags, which have it elsewhere since CUDA 13.
static int chipOf(const Elf::Ehdr &header) {
  constexpr int kLaterAbi = 8;
  const bool later = header.e_ident[llvm::ELF::EI_ABIVERSION] >= kLaterAbi;
  return static_cast<int>(header.e_flags >> (later ? 8 : 0)) & 0xff;
}

static std::optional<ModuleImage> readCubin(const char *image,
                                            int capability) {
  const auto &header = *reinterpret_cast<const Elf::Ehdr *>(image);
  const int chip = chipOf(header);
  if (chip / 10 != capability / 10 || chip > capability)
    return std::nullopt;
  ModuleImage module;
  module.what = "cubin for sm_" + std::to_string(chip);
  const uint64_t bytes = std::max<uint64_t>(
      header.e_shoff + header.e_shnum * header.e_shentsize,
      header.e_phoff + header.e_phnum * header.e_phentsize);
  auto file = llvm::cantFail(
      llvm::object::ELFFile<Elf>::create(llvm::StringRef(image, bytes)));
  for (const Elf::Shdr &section : llvm::cantFail(file.sections())) {
    if (section.sh_type != llvm::ELF::SHT_SYMTAB)
      continue;
    const llvm::StringRef names =
        llvm::cantFail(file.getStringTableForSymtab(section));
    for (const Elf::Sym &symbol : llvm::cantFail(file.symbols(&section)))
      if (symbol.getType() == llvm::ELF::STT_FUNC)
        module.kernels.insert(llvm::cantFail(symbol.getName(names)));
  }
  return module;
}

std::optional<ModuleImage> ModuleImage::read(const void *image,
                                             int capability) {
  const auto *bytes = static_cast<const char *>(image);
  return isCubin(image) ? readCubin(bytes, capability) : readPtx(bytes);
}

} // namespace sputnik::testing
