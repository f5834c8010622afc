//===- Linker.h - From an object file to one executable --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Links the object file of a model with the runtime of its target, and lays the
// weight image behind it. The weights never pass through the linker: they may
// be hundreds of gigabytes, so the link reserves an empty segment for them,
// which is then grown in the file and filled by many threads.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_CODEGEN_LINK_LINKER_H
#define SPUTNIK_CODEGEN_LINK_LINKER_H

#include "codegen/link/OutputFile.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/TargetParser/Triple.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sputnik {

/// Whether an executable holds the C library or opens it when it starts. The
/// C++ library it always holds.
enum class Linkage { Static, Dynamic };

/// Everything of one target that a link needs beside the model's object file:
/// the runtime, the C and C++ libraries and the start files, all in one folder
/// `lib/sputnik/<arch>-linux-gnu`.
class RuntimePack {
public:
  /// Finds the pack for \p triple next to the compiler: \p executablePath is
  /// the running program (`<prefix>/bin/sputnik`), the pack is in
  /// `<prefix>/lib/sputnik`. Fails when the target is not supported or a file
  /// of the pack is missing.
  static llvm::Expected<RuntimePack> find(const llvm::Triple &triple,
                                          llvm::StringRef executablePath,
                                          Linkage linkage = Linkage::Static);

  /// The pack in \p folder. Fails when a file of the pack is missing.
  static llvm::Expected<RuntimePack> open(const llvm::Triple &triple,
                                          llvm::StringRef folder,
                                          Linkage linkage = Linkage::Static);

  /// The folder's name for \p triple, such as `x86_64-linux-gnu`; empty when
  /// executables cannot be made for it.
  static std::string folderName(const llvm::Triple &triple);

  /// Files that come before the model's object file on the linker's command
  /// line, and those that come after it.
  const std::vector<std::string> &before() const { return filesBefore; }
  const std::vector<std::string> &after() const { return filesAfter; }
  /// The linker's name of the target.
  llvm::StringRef emulation() const { return emulationName; }
  /// What starts the executable; empty if it starts by itself.
  llvm::StringRef interpreter() const { return interpreterPath; }

private:
  std::vector<std::string> filesBefore, filesAfter;
  std::string emulationName, interpreterPath;
};

/// Where the bytes of the weights go.
enum class WeightStore {
  Embed,  ///< Into the executable, as its last segment.
  Beside, ///< Into `<output>.weights`.
  None,   ///< Nowhere: the executable makes them up when it starts.
};

/// Where threads write the weights: offset 0 is the first byte of the weights,
/// after the image's header. Cheap to copy; must not outlive its
/// ExecutableWriter.
class ImageSink {
public:
  /// Writes \p bytes at \p offset. Safe to call from several threads for
  /// disjoint ranges. Fails when the range leaves the image or the file cannot
  /// be written. Bytes never written are zero.
  llvm::Error write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) const;

  /// Size of the weights in bytes.
  uint64_t size() const { return weightBytes; }

private:
  friend class ExecutableWriter;
  ImageSink(OutputFile *file, uint64_t begin, uint64_t weightBytes)
      : file(file), begin(begin), weightBytes(weightBytes) {}
  OutputFile *file;
  uint64_t begin, weightBytes;
};

/// Makes one executable: link(), then image() unless the store is None, then
/// commit(). Until commit() only temporary files beside the output exist; they
/// vanish with the object and on a signal, so a failed or interrupted compile
/// leaves what was there before. The same inputs give the same bytes.
class ExecutableWriter {
public:
  /// Opens a temporary file beside \p outputPath. Fails when the folder cannot
  /// be written or the output exists and is no regular file.
  static llvm::Expected<ExecutableWriter> create(llvm::StringRef outputPath,
                                                 WeightStore store);

  /// Links \p objectFile (the bytes of a relocatable ELF object that defines
  /// `sputnik_model`) with the runtime in \p pack. Calls lld in this process,
  /// which resets the values of llvm::cl options.
  llvm::Error link(llvm::StringRef objectFile, const RuntimePack &pack);

  /// Reserves the space of an image of \p weightBytes and writes its header,
  /// with identity \p id (32 bytes). For WeightStore::Embed after link().
  llvm::Expected<ImageSink> image(uint64_t weightBytes,
                                  llvm::ArrayRef<uint8_t> id);

  /// Replaces the identity in the image's header: weights beside the executable
  /// are known by their content, once they are written. After image().
  llvm::Error identify(llvm::ArrayRef<uint8_t> id);

  /// Puts the finished files in their places.
  llvm::Error commit();

private:
  ExecutableWriter(OutputFile executable, std::optional<OutputFile> weights,
                   WeightStore store)
      : executable(std::move(executable)), weights(std::move(weights)),
        store(store) {}

  /// Calls lld on files on disk.
  static llvm::Error runLinker(llvm::StringRef objectPath,
                               llvm::StringRef linkedPath,
                               const RuntimePack &pack);

  OutputFile executable;
  std::optional<OutputFile> weights;
  WeightStore store;
  /// Where the image starts in its file.
  uint64_t imageOffset = 0;
  /// The linked file without its image, until the image's size is known.
  std::vector<uint8_t> linked;
};

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_LINK_LINKER_H
