//===- ImageSegment.cpp - Room for the weights in a linked file -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/link/ImageSegment.h"

#include "llvm/ADT/Twine.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

using namespace llvm;
using namespace llvm::ELF;

static_assert(std::endian::native == std::endian::little,
              "ELF structures are copied as they are");

namespace sputnik {

static Error malformed(const Twine &what) {
  return createStringError("linked executable: " + what);
}

namespace {
/// Bounds-checked access to the structures of a file in memory.
class Bytes {
public:
  explicit Bytes(ArrayRef<uint8_t> bytes) : bytes(bytes) {}

  template <typename T>
  Expected<std::vector<T>> read(uint64_t offset, uint64_t count) const {
    static_assert(std::is_trivially_copyable_v<T>);
    Expected<ArrayRef<uint8_t>> slice = at(offset, count * sizeof(T));
    if (!slice)
      return slice.takeError();
    std::vector<T> result(count);
    if (count)
      std::memcpy(result.data(), slice->data(), slice->size());
    return result;
  }

  Expected<ArrayRef<uint8_t>> at(uint64_t offset, uint64_t size) const {
    if (offset > bytes.size() || size > bytes.size() - offset)
      return malformed("a table at " + Twine(offset) + " of " + Twine(size) +
                       " bytes leaves the file");
    return bytes.slice(offset, size);
  }

private:
  ArrayRef<uint8_t> bytes;
};
} // namespace

/// Index of the section named \p name, or an error.
static Expected<size_t> findSection(const Bytes &file,
                                    ArrayRef<Elf64_Shdr> sections,
                                    const Elf64_Shdr &names, StringRef name) {
  Expected<ArrayRef<uint8_t>> table = file.at(names.sh_offset, names.sh_size);
  if (!table)
    return table.takeError();
  StringRef strings(reinterpret_cast<const char *>(table->data()),
                    table->size());
  for (size_t i = 0; i < sections.size(); ++i) {
    StringRef rest = strings.substr(sections[i].sh_name);
    if (rest.substr(0, rest.find('\0')) == name)
      return i;
  }
  return malformed("no section " + name);
}

Expected<ImageLayout> addImageSegment(ArrayRef<uint8_t> linked,
                                      uint64_t imageBytes, uint64_t alignment) {
  Bytes file(linked);
  auto headers = file.read<Elf64_Ehdr>(0, 1);
  if (!headers)
    return headers.takeError();
  Elf64_Ehdr &header = headers->front();
  if (!header.checkMagic() || header.getFileClass() != ELFCLASS64 ||
      header.getDataEncoding() != ELFDATA2LSB || header.e_type != ET_EXEC)
    return malformed("not a 64-bit little-endian ELF executable");
  if (header.e_phentsize != sizeof(Elf64_Phdr) ||
      header.e_shentsize != sizeof(Elf64_Shdr) ||
      header.e_shstrndx >= header.e_shnum)
    return malformed("unexpected sizes in the header");
  auto segments = file.read<Elf64_Phdr>(header.e_phoff, header.e_phnum);
  if (!segments)
    return segments.takeError();
  auto sections = file.read<Elf64_Shdr>(header.e_shoff, header.e_shnum);
  if (!sections)
    return sections.takeError();
  auto roomIndex = findSection(file, *sections, (*sections)[header.e_shstrndx],
                               kHeadersSection);
  if (!roomIndex)
    return roomIndex.takeError();
  const Elf64_Shdr &room = (*sections)[*roomIndex];

  uint64_t imageOffset = alignTo(linked.size(), alignment);
  if (imageBytes > (uint64_t(1) << 46) - kImageAddress)
    return malformed("an image of " + Twine(imageBytes) +
                     " bytes does not fit the address space");

  // The kernel finds the table by its distance from the start of the first
  // segment, so it must be mapped with it.
  auto first = llvm::find_if(*segments, [](const Elf64_Phdr &segment) {
    return segment.p_type == PT_LOAD;
  });
  if (first == segments->end() || first->p_offset != 0 ||
      room.sh_offset + room.sh_size > first->p_filesz ||
      room.sh_addr != first->p_vaddr + room.sh_offset)
    return malformed(kHeadersSection + " is not in the first segment");
  if (room.sh_size < (segments->size() + 1) * sizeof(Elf64_Phdr))
    return malformed(kHeadersSection + " has " + Twine(room.sh_size) +
                     " bytes, too few for " + Twine(segments->size() + 1) +
                     " program headers");

  auto last = segments->begin();
  for (auto it = segments->begin(); it != segments->end(); ++it) {
    if (it->p_type == PT_PHDR) {
      it->p_offset = room.sh_offset;
      it->p_vaddr = it->p_paddr = room.sh_addr;
      it->p_filesz = it->p_memsz = (segments->size() + 1) * sizeof(Elf64_Phdr);
    }
    if (it->p_type != PT_LOAD)
      continue;
    last = it;
    if (it->p_vaddr + it->p_memsz > kImageAddress)
      return malformed("code and data reach " +
                       Twine(it->p_vaddr + it->p_memsz) +
                       ", the image starts at " + Twine(kImageAddress));
  }
  Elf64_Phdr image = {};
  image.p_type = PT_LOAD;
  image.p_flags = PF_R;
  image.p_offset = imageOffset;
  image.p_vaddr = image.p_paddr = kImageAddress;
  image.p_filesz = image.p_memsz = imageBytes;
  image.p_align = alignment;
  // Loadable segments are listed by ascending address.
  segments->insert(std::next(last), image);
  header.e_phoff = room.sh_offset;
  header.e_phnum = segments->size();

  ImageLayout layout{std::vector<uint8_t>(linked.begin(), linked.end()),
                     imageOffset};
  std::memcpy(layout.head.data(), &header, sizeof(header));
  std::memcpy(layout.head.data() + room.sh_offset, segments->data(),
              segments->size() * sizeof(Elf64_Phdr));
  return layout;
}

} // namespace sputnik
