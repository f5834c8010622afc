//===- Process.h - Running the programs under test --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TEST_MODELS_PROCESS_H
#define SPUTNIK_TEST_MODELS_PROCESS_H

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

#include "gtest/gtest.h"

#include <optional>
#include <string>

namespace sputnik {

/// What a program left.
struct Outcome {
  int status;
  std::string out, err;
};

/// Runs a program, found by its full path, to its end. May be called by several
/// threads at once.
inline Outcome execute(llvm::ArrayRef<std::string> command,
                       unsigned seconds = 600) {
  llvm::SmallString<128> out, err;
  llvm::sys::fs::createTemporaryFile("sputnik-test", "out", out);
  llvm::sys::fs::createTemporaryFile("sputnik-test", "err", err);
  llvm::SmallVector<llvm::StringRef> arguments(command.begin(), command.end());
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), out.str(),
                                                err.str()};
  auto take = [](llvm::StringRef path) {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    std::string text = buffer ? (*buffer)->getBuffer().str() : std::string();
    llvm::sys::fs::remove(path);
    return text;
  };
  int status = llvm::sys::ExecuteAndWait(command[0], arguments, std::nullopt,
                                         redirects, seconds);
  return {status, take(out), take(err)};
}

/// Standard output of a program that is expected to succeed.
inline std::string run(llvm::ArrayRef<std::string> command) {
  Outcome outcome = execute(command);
  EXPECT_EQ(outcome.status, 0) << llvm::join(command, " ") << "\n"
                               << outcome.err;
  return outcome.out;
}

/// A folder that goes with this object.
class TemporaryFolder {
public:
  TemporaryFolder() {
    llvm::sys::fs::createUniqueDirectory("sputnik-models", folder);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;
  ~TemporaryFolder() { llvm::sys::fs::remove_directories(folder); }

  std::string path(const llvm::Twine &name) const {
    return (folder + "/" + name).str();
  }

private:
  llvm::SmallString<128> folder;
};

} // namespace sputnik

#endif // SPUTNIK_TEST_MODELS_PROCESS_H
