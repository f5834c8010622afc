//===- FilesTest.cpp - Tests of writing output ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "TemporaryFolder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sputnik::rt {

TEST(OutputFile, AppearsOnlyWhenCommitted) {
  test::TemporaryFolder folder;
  folder.write("out", "old");
  {
    Result<OutputFile> file = OutputFile::create(folder.path("out"));
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write("new"));
    EXPECT_EQ(folder.read("out"), "old");
    ASSERT_TRUE(file->commit());
  }
  EXPECT_EQ(folder.read("out"), "new");
  EXPECT_EQ(folder.count(), 1u);
}

TEST(OutputFile, LeavesNothingBehindWhenAbandoned) {
  test::TemporaryFolder folder;
  folder.write("out", "old");
  {
    Result<OutputFile> file = OutputFile::create(folder.path("out"));
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write("new"));
  }
  EXPECT_EQ(folder.read("out"), "old");
  EXPECT_EQ(folder.count(), 1u);
}

TEST(OutputFile, NamesTheFileThatCannotBeWritten) {
  test::TemporaryFolder folder;
  const Result<OutputFile> file = OutputFile::create(folder.path("no/out"));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message,
            folder.path("no/out") + ": No such file or directory");
}

TEST(OutputFile, WritesToWhatIsNoRegularFileDirectly) {
  Result<OutputFile> file = OutputFile::create("/dev/null");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->write("text"));
  EXPECT_TRUE(file->commit());
}

TEST(WriteAll, ReportsAFullDisk) {
  const int full = open("/dev/full", O_WRONLY);
  struct stat status;
  if (full < 0 || fstat(full, &status) != 0 || !S_ISCHR(status.st_mode))
    GTEST_SKIP() << "/dev/full is no device";
  const Status written = writeAll(full, "text", "the file");
  close(full);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().message, "the file: No space left on device");
}

} // namespace sputnik::rt
