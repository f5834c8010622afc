//===- Linker.cpp - From an object file to one executable -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/link/Linker.h"

#include "codegen/link/ImageSegment.h"
#include "runtime/Abi.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace sputnik {

//===----------------------------------------------------------------------===//
// RuntimePack
//===----------------------------------------------------------------------===//

std::string RuntimePack::folderName(const Triple &triple) {
  if (!triple.isOSLinux())
    return "";
  if (triple.getArch() == Triple::x86_64 || triple.getArch() == Triple::aarch64)
    return (Triple::getArchTypeName(triple.getArch()) + "-linux-gnu").str();
  return "";
}

Expected<RuntimePack> RuntimePack::find(const Triple &triple,
                                        StringRef executablePath,
                                        Linkage linkage) {
  std::string name = folderName(triple);
  if (name.empty())
    return createStringError("target " + triple.str() +
                             ": executables are made for Linux on x86-64 and "
                             "AArch64 only");
  SmallString<256> folder;
  if (std::error_code code = sys::fs::real_path(executablePath, folder))
    return createStringError(executablePath + ": " + code.message());
  sys::path::remove_filename(folder);
  folder = sys::path::parent_path(folder);
  sys::path::append(folder, "lib", "sputnik", name);
  return open(triple, folder, linkage);
}

Expected<RuntimePack> RuntimePack::open(const Triple &triple,
                                        StringRef folder, Linkage linkage) {
  RuntimePack pack;
  const bool arm = triple.getArch() == Triple::aarch64;
  const bool dynamic = linkage == Linkage::Dynamic;
  pack.emulationName = arm ? "aarch64linux" : "elf_x86_64";
  // Where the psABIs of both put it.
  StringRef loader = arm ? "ld-linux-aarch64.so.1" : "ld-linux-x86-64.so.2";
  if (dynamic)
    pack.interpreterPath = ((arm ? "/lib/" : "/lib64/") + loader).str();
  auto add = [&](std::vector<std::string> &files, StringRef name) -> Error {
    SmallString<256> path(folder);
    sys::path::append(path, name);
    if (!sys::fs::is_regular_file(path))
      return createStringError(path + ": not found; the runtime for " +
                               triple.str() + " is not installed");
    files.push_back(path.str().str());
    return Error::success();
  };
  std::vector<StringRef> before = {"crt1.o", "crti.o",
                                   dynamic ? "crtbegin.o" : "crtbeginT.o"};
  std::vector<StringRef> after = {"libsputnik_runtime.a", "libutf8proc.a",
                                  "libstdc++.a",
                                  dynamic ? "libm.so.6" : "libm.a",
                                  "libgcc.a", "libgcc_eh.a"};
  if (dynamic)
    after.insert(after.end(), {"libc.so.6", "libc_nonshared.a", loader});
  else
    after.push_back("libc.a");
  after.insert(after.end(), {"crtend.o", "crtn.o"});
  for (StringRef name : before)
    if (Error error = add(pack.filesBefore, name))
      return error;
  for (StringRef name : after)
    if (Error error = add(pack.filesAfter, name))
      return error;
  return pack;
}

//===----------------------------------------------------------------------===//
// ImageSink
//===----------------------------------------------------------------------===//

Error ImageSink::write(uint64_t offset, ArrayRef<uint8_t> bytes) const {
  if (offset > weightBytes || bytes.size() > weightBytes - offset)
    return createStringError(file->path() + ": weights at " + Twine(offset) +
                             " of " + Twine(bytes.size()) +
                             " bytes leave the image of " + Twine(weightBytes) +
                             " bytes");
  return file->write(begin + offset, bytes);
}

//===----------------------------------------------------------------------===//
// ExecutableWriter
//===----------------------------------------------------------------------===//

Expected<ExecutableWriter> ExecutableWriter::create(StringRef outputPath,
                                                    WeightStore store) {
  auto executable = OutputFile::create(outputPath, /*executable=*/true);
  if (!executable)
    return executable.takeError();
  std::optional<OutputFile> weights;
  if (store == WeightStore::Beside) {
    auto file = OutputFile::create((outputPath + ".weights").str(),
                                   /*executable=*/false);
    if (!file)
      return file.takeError();
    weights = std::move(*file);
  }
  return ExecutableWriter(std::move(*executable), std::move(weights), store);
}

/// The first message of what lld printed, on one line.
static std::string firstMessage(StringRef output) {
  StringRef line, rest = output;
  do
    std::tie(line, rest) = rest.split('\n');
  while (!line.contains("error: ") && !rest.empty());
  std::string message = line.substr(line.find("error: ")).str();
  while (rest.consume_front(">>> ")) {
    std::tie(line, rest) = rest.split('\n');
    message += "; " + line.str();
  }
  return message.empty() ? "the linker failed" : message;
}

Error ExecutableWriter::runLinker(StringRef objectPath, StringRef linkedPath,
                                  const RuntimePack &pack) {
  std::vector<std::string> arguments = {"ld.lld",
                                        "-m",
                                        pack.emulation().str(),
                                        "--no-pie",
                                        "--gc-sections",
                                        "--eh-frame-hdr",
                                        "--build-id=none",
                                        "--strip-debug",
                                        "-z",
                                        "noexecstack",
                                        "-z",
                                        "relro",
                                        "-u",
                                        "sputnik_image_address",
                                        "--defsym=sputnik_image=0x" +
                                            utohexstr(kImageAddress),
                                        "-o",
                                        linkedPath.str()};
  if (pack.interpreter().empty())
    arguments.push_back("-static");
  else
    arguments.insert(arguments.end(),
                     {"--dynamic-linker=" + pack.interpreter().str(),
                      "--as-needed", "--hash-style=gnu"});
  llvm::append_range(arguments, pack.before());
  arguments.push_back(objectPath.str());
  llvm::append_range(arguments, pack.after());
  std::vector<const char *> pointers;
  for (const std::string &argument : arguments)
    pointers.push_back(argument.c_str());

  std::string output;
  raw_string_ostream stream(output);
  lld::Result result =
      lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode)
    return createStringError("cannot link: " + firstMessage(output));
  return Error::success();
}

Error ExecutableWriter::link(StringRef objectFile, const RuntimePack &pack) {
  // A full disk is told here, with our words: lld would name its own temporary
  // file. The runtime with its libraries takes less than this.
  constexpr uint64_t kRuntimeBytes = 8 << 20;
  if (Error error = executable.reserve(objectFile.size() + kRuntimeBytes))
    return error;
  auto object = OutputFile::create((executable.path() + ".o").str(), false);
  if (!object)
    return object.takeError();
  if (Error error = object->write(0, arrayRefFromStringRef(objectFile)))
    return error;
  // lld replaces this file by its own; the name stays ours to remove.
  auto result = OutputFile::create((executable.path() + ".linked").str(), true);
  if (!result)
    return result.takeError();
  if (Error error =
          runLinker(object->temporaryPath(), result->temporaryPath(), pack))
    return error;
  auto contents =
      MemoryBuffer::getFile(result->temporaryPath(), /*IsText=*/false,
                            /*RequiresNullTerminator=*/false);
  if (!contents)
    return createStringError(executable.path() + ": " +
                             contents.getError().message());
  auto bytes = arrayRefFromStringRef((*contents)->getBuffer());
  linked.assign(bytes.begin(), bytes.end());
  if (store == WeightStore::Embed)
    return Error::success();

  // Without weights the image is an empty page, so that its header can be read.
  auto layout = addImageSegment(linked, abi::kImageHeaderBytes,
                                /*alignment=*/uint64_t(64) << 10);
  if (!layout)
    return layout.takeError();
  if (Error error =
          executable.reserve(layout->imageOffset + abi::kImageHeaderBytes))
    return error;
  return executable.write(0, layout->head);
}

Expected<ImageSink> ExecutableWriter::image(uint64_t weightBytes,
                                            ArrayRef<uint8_t> id) {
  if (id.size() != abi::kImageIdBytes)
    return createStringError(executable.path() + ": an image's identity has " +
                             Twine(id.size()) + " bytes, expected " +
                             Twine(abi::kImageIdBytes));
  if (store == WeightStore::None)
    return createStringError(executable.path() +
                             ": this executable holds no weights");
  if (weightBytes > uint64_t(INT64_MAX) - abi::kImageHeaderBytes)
    return createStringError(executable.path() + ": " + Twine(weightBytes) +
                             " bytes of weights are too many");
  uint64_t imageBytes = abi::kImageHeaderBytes + weightBytes;
  OutputFile *file = weights ? &*weights : &executable;
  if (store == WeightStore::Embed) {
    if (linked.empty())
      return createStringError(executable.path() + ": not linked yet");
    auto layout = addImageSegment(linked, imageBytes, kImageAlignment);
    if (!layout)
      return layout.takeError();
    imageOffset = layout->imageOffset;
    if (Error error = file->reserve(imageOffset + imageBytes))
      return error;
    if (Error error = file->write(0, layout->head))
      return error;
  } else if (Error error = file->reserve(imageBytes)) {
    return error;
  }

  abi::ImageHeader header = {};
  std::memcpy(header.magic, abi::kImageMagic, sizeof(header.magic));
  header.weightBytes = weightBytes;
  std::memcpy(header.id, id.data(), sizeof(header.id));
  if (Error error = file->write(
          imageOffset,
          ArrayRef(reinterpret_cast<const uint8_t *>(&header), sizeof(header))))
    return error;
  return ImageSink(file, imageOffset + abi::kImageHeaderBytes, weightBytes);
}

Error ExecutableWriter::identify(ArrayRef<uint8_t> id) {
  assert(id.size() == abi::kImageIdBytes && "an identity has a fixed size");
  OutputFile *file = weights ? &*weights : &executable;
  return file->write(imageOffset + offsetof(abi::ImageHeader, id), id);
}

Error ExecutableWriter::commit() {
  // The weights first: an old executable refuses new weights with a clear
  // message, a new one without weights would have nothing to refuse.
  if (weights)
    if (Error error = weights->commit())
      return error;
  return executable.commit();
}

} // namespace sputnik
