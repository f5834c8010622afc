//===- Memory.h - Memory that programs under test take ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_TEST_MODELS_MEMORY_H
#define SPUTNIK_TEST_MODELS_MEMORY_H

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MemoryBuffer.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sputnik {

/// Anonymous memory of a process in bytes, 0 once it has ended.
inline uint64_t anonymousMemory(pid_t process) {
  auto status =
      llvm::MemoryBuffer::getFileAsStream("/proc/" + llvm::Twine(process) + "/status");
  if (!status)
    return 0;
  llvm::StringRef rest = (*status)->getBuffer().split("RssAnon:").second.ltrim();
  uint64_t kilobytes = 0;
  return rest.consumeInteger(10, kilobytes) ? 0 : kilobytes << 10;
}

/// Runs a program; gives the most anonymous memory it was seen to hold.
inline uint64_t peakOf(std::vector<std::string> command) {
  std::vector<char *> arguments;
  for (std::string &argument : command)
    arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_t child = fork();
  if (child == 0) {
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  uint64_t peak = 0;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    peak = std::max(peak, anonymousMemory(child));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(status, 0) << llvm::join(command, " ");
  return peak;
}

} // namespace sputnik

#endif // SPUTNIK_TEST_MODELS_MEMORY_H
