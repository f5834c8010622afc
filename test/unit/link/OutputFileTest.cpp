//===- OutputFileTest.cpp - Files that appear whole or not at all ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/link/OutputFile.h"
#include "test/unit/link/TemporaryFolder.h"
#include "llvm/ADT/StringExtras.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llvm;

namespace sputnik {
namespace {

TEST(OutputFile, AppearsOnCommitOnly) {
  TemporaryFolder folder;
  std::string path = folder.path("out");
  {
    auto file = OutputFile::create(path, /*executable=*/true);
    ASSERT_TRUE(bool(file)) << toString(file.takeError());
    ASSERT_FALSE(file->write(0, arrayRefFromStringRef("new")));
    EXPECT_FALSE(sys::fs::exists(path));
    EXPECT_EQ(folder.files().size(), 1u);
    ASSERT_FALSE(file->commit());
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"out"});
  EXPECT_EQ(readFile(path), "new");
  EXPECT_TRUE(sys::fs::can_execute(path));
}

TEST(OutputFile, AbandonedLeavesTheOldFile) {
  TemporaryFolder folder;
  std::string path = folder.path("out");
  writeFile(path, "old");
  {
    auto file = OutputFile::create(path, false);
    ASSERT_TRUE(bool(file)) << toString(file.takeError());
    ASSERT_FALSE(file->write(0, arrayRefFromStringRef("new")));
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"out"});
  EXPECT_EQ(readFile(path), "old");
}

TEST(OutputFile, FolderIsMissing) {
  TemporaryFolder folder;
  std::string path = folder.path("none/out");
  auto file = OutputFile::create(path, false);
  ASSERT_FALSE(bool(file));
  EXPECT_EQ(toString(file.takeError()),
            path + ": cannot be written: No such file or directory");
}

TEST(OutputFile, FolderIsReadOnly) {
  TemporaryFolder folder;
  ASSERT_EQ(::chmod(folder.path("").c_str(), 0555), 0);
  // Root writes everywhere, so the test becomes nobody for a moment.
  constexpr uid_t kNobody = 65534;
  uid_t user = ::geteuid();
  if (user == 0) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  auto file = OutputFile::create(folder.path("out"), false);
  if (user == 0) {
    ASSERT_EQ(::seteuid(user), 0);
  }
  ASSERT_FALSE(bool(file));
  EXPECT_EQ(toString(file.takeError()),
            folder.path("out") + ": cannot be written: Permission denied");
  ASSERT_EQ(::chmod(folder.path("").c_str(), 0755), 0);
}

TEST(OutputFile, DestinationIsAFolder) {
  TemporaryFolder folder;
  auto file = OutputFile::create(folder.path(""), false);
  ASSERT_FALSE(bool(file));
  EXPECT_EQ(toString(file.takeError()),
            folder.path("") +
                ": is a folder, expected the name of a file to write");
}

TEST(OutputFile, DestinationIsADevice) {
  auto file = OutputFile::create("/dev/null", false);
  ASSERT_FALSE(bool(file));
  EXPECT_EQ(toString(file.takeError()),
            "/dev/null: exists and is not a regular file");
}

TEST(OutputFile, TooLargeForTheDisk) {
  TemporaryFolder folder;
  std::string path = folder.path("out");
  auto file = OutputFile::create(path, false);
  ASSERT_TRUE(bool(file)) << toString(file.takeError());
  rlimit old, small;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  small = {1 << 20, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string reserve = toString(file->reserve(5 << 20));
  std::vector<uint8_t> bytes(3 << 20);
  std::string write = toString(file->write(0, bytes));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(reserve, path + ": File too large (need 5242880 bytes)");
  EXPECT_EQ(write, path + ": File too large (need 5242880 bytes)");
}

TEST(OutputFile, AFullDiskIsFoundByReserve) {
  TemporaryFolder folder;
  std::string path = folder.path("out");
  auto file = OutputFile::create(path, false);
  ASSERT_TRUE(bool(file)) << toString(file.takeError());
  uint64_t size = uint64_t(1) << 60;
  EXPECT_EQ(toString(file->reserve(size)),
            path +
                ": No space left on device (need 1152921504606846976 bytes)");
}

TEST(OutputFile, ASignalRemovesTheTemporaryFile) {
  TemporaryFolder folder;
  std::string path = folder.path("out");
  writeFile(path, "old");
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto file = OutputFile::create(path, false);
    if (file)
      ::raise(SIGTERM);
    ::_exit(3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
  EXPECT_EQ(folder.files(), std::vector<std::string>{"out"});
  EXPECT_EQ(readFile(path), "old");
}

} // namespace
} // namespace sputnik
