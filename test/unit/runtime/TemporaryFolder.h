//===- TemporaryFolder.h - A folder for one test --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_RUNTIME_TEMPORARYFOLDER_H
#define SPUTNIK_TEST_UNIT_RUNTIME_TEMPORARYFOLDER_H

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace sputnik::test {

/// A folder that is removed with all it holds.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "sputnik-XXXXXX").string();
    if (!mkdtemp(name.data())) {
      std::perror(name.c_str());
      std::abort();
    }
    folder = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(folder); }

  std::string path(const std::string &name = "") const {
    return name.empty() ? folder.string() : (folder / name).string();
  }

  /// Creates a file, and the folders above it.
  void write(const std::string &name, const std::string &text) const {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << text;
  }

  std::string read(const std::string &name) const {
    std::ifstream file(folder / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// How many entries it has.
  size_t count() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder), {}));
  }

private:
  std::filesystem::path folder;
};

} // namespace sputnik::test

#endif // SPUTNIK_TEST_UNIT_RUNTIME_TEMPORARYFOLDER_H
