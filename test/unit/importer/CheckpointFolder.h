//===- CheckpointFolder.h - A small checkpoint in a folder ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_IMPORTER_CHECKPOINTFOLDER_H
#define SPUTNIK_TEST_UNIT_IMPORTER_CHECKPOINTFOLDER_H

#include "FileWriters.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

#include <string>

namespace sputnik::testing {

/// A new folder, removed with everything in it by the destructor.
class CheckpointFolder {
public:
  CheckpointFolder() {
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("sputnik-test", folder));
  }
  ~CheckpointFolder() { (void)llvm::sys::fs::remove_directories(folder); }
  CheckpointFolder(const CheckpointFolder &) = delete;
  CheckpointFolder &operator=(const CheckpointFolder &) = delete;

  std::string path() const { return folder.str().str(); }
  std::string path(llvm::StringRef name) const {
    llvm::SmallString<256> result(folder);
    llvm::sys::path::append(result, name);
    return result.str().str();
  }
  void write(llvm::StringRef name, llvm::StringRef text) const {
    std::error_code code;
    llvm::raw_fd_ostream(path(name), code) << text;
    EXPECT_FALSE(code) << name.str();
  }
  void remove(llvm::StringRef name) const {
    EXPECT_FALSE(llvm::sys::fs::remove(path(name)));
  }

  /// A whole model in one file.
  void writeSingle(llvm::StringRef modelType = "llama") const {
    write("config.json", smallConfig(modelType));
    write("model.safetensors", safeTensorsOfZeros(smallTensors(modelType)));
  }

  /// A whole model in two shards, the first of which has one tensor more than
  /// the index names.
  void writeSharded(llvm::StringRef modelType = "llama") const {
    write("config.json", smallConfig(modelType));
    std::vector<ShapedTensor> shards[2];
    std::string map;
    for (const ShapedTensor &tensor : smallTensors(modelType)) {
      const unsigned shard = shards[0].size() > 5;
      shards[shard].push_back(tensor);
      map += (map.empty() ? "\"" : ", \"") + tensor.name + "\": \"" +
             shardName(shard) + "\"";
    }
    shards[0].push_back({"unnamed", "F32", {2}, 8});
    for (unsigned shard : {0, 1})
      write(shardName(shard), safeTensorsOfZeros(shards[shard]));
    write("model.safetensors.index.json",
          "{\"metadata\": {\"total_size\": 3}, \"weight_map\": {" + map + "}}");
  }
  static std::string shardName(unsigned shard) {
    return "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
  }

private:
  llvm::SmallString<256> folder;
};

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_IMPORTER_CHECKPOINTFOLDER_H
