//===- Assembler.cpp - From PTX to machine code ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/Assembler.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace sputnik::gpu;

namespace {

/// A file that goes with its owner, or with a signal that ends the process.
class TemporaryFile {
public:
  static Expected<TemporaryFile> create(StringRef suffix) {
    SmallString<128> model;
    sys::path::system_temp_directory(/*erasedOnReboot=*/true, model);
    sys::path::append(model, "sputnik-%%%%%%%%" + suffix);
    Expected<sys::fs::TempFile> file = sys::fs::TempFile::create(
        model, sys::fs::owner_read | sys::fs::owner_write);
    if (!file)
      return createStringError(model + ": cannot be written: " +
                               toString(file.takeError()));
    return TemporaryFile(std::move(*file));
  }
  TemporaryFile(TemporaryFile &&other) = default;
  ~TemporaryFile() { consumeError(file.discard()); }

  StringRef path() const { return file.TmpName; }

  Error write(StringRef text) const {
    raw_fd_ostream os(file.FD, /*shouldClose=*/false);
    os << text;
    os.flush();
    std::error_code code = os.error();
    os.clear_error();
    if (code)
      return createStringError(path() + ": " + code.message());
    return Error::success();
  }

  Expected<std::string> read() const {
    ErrorOr<std::unique_ptr<MemoryBuffer>> bytes =
        MemoryBuffer::getFile(path(), /*IsText=*/false,
                              /*RequiresNullTerminator=*/false);
    if (!bytes)
      return createStringError(path() + ": " + bytes.getError().message());
    return (*bytes)->getBuffer().str();
  }

private:
  explicit TemporaryFile(sys::fs::TempFile file) : file(std::move(file)) {}

  sys::fs::TempFile file;
};

} // namespace

Expected<Assembler> Assembler::open(StringRef path) {
  if (std::error_code code =
          sys::fs::access(path, sys::fs::AccessMode::Execute))
    return createStringError(path + ": cannot be run: " + code.message());
  return Assembler(path);
}

std::optional<Assembler> Assembler::find() {
  constexpr StringLiteral name = "ptxas";
  if (ErrorOr<std::string> found = sys::findProgramByName(name))
    return Assembler(*found);
  for (StringRef variable : {"CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"}) {
    std::optional<std::string> folder = sys::Process::GetEnv(variable);
    if (!folder || folder->empty())
      continue;
    SmallString<128> programs(*folder);
    sys::path::append(programs, "bin");
    if (ErrorOr<std::string> found =
            sys::findProgramByName(name, {programs.str()}))
      return Assembler(*found);
  }
  return std::nullopt;
}

/// The first line of what ptxas says of `input`.
static std::string firstLine(const TemporaryFile &messages, StringRef input) {
  Expected<std::string> text = messages.read();
  if (!text) {
    consumeError(text.takeError());
    return {};
  }
  StringRef line = StringRef(*text).ltrim().split('\n').first.rtrim();
  // The file is gone when the line is read.
  if (line.consume_front("ptxas ") && line.consume_front(input))
    line.consume_front(", ");
  return line.str();
}

Expected<std::string> Assembler::assemble(StringRef ptx, StringRef chip) const {
  Expected<TemporaryFile> input = TemporaryFile::create(".ptx");
  if (!input)
    return input.takeError();
  Expected<TemporaryFile> output = TemporaryFile::create(".cubin");
  if (!output)
    return output.takeError();
  Expected<TemporaryFile> messages = TemporaryFile::create(".txt");
  if (!messages)
    return messages.takeError();
  if (Error error = input->write(ptx))
    return error;

  const std::string architecture = ("-arch=" + chip).str();
  const StringRef arguments[] = {path, architecture, input->path(), "-o",
                                 output->path()};
  const std::optional<StringRef> redirects[] = {StringRef(), messages->path(),
                                                messages->path()};
  std::string problem;
  const int status = sys::ExecuteAndWait(path, arguments, std::nullopt,
                                         redirects, 0, 0, &problem);
  if (status == 0) {
    Expected<std::string> cubin = output->read();
    if (!cubin || !cubin->empty())
      return cubin;
    problem = "wrote no code";
  } else if (std::string line = firstLine(*messages, input->path());
             !line.empty()) {
    problem = std::move(line);
  } else if (problem.empty()) {
    problem = "ended with status " + std::to_string(status);
  }
  return createStringError(path + ": " + chip + ": " + problem);
}
