//===- ShardIndex.h - Which file holds which tensor -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_SHARDINDEX_H
#define SPUTNIK_IMPORTER_SHARDINDEX_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <map>
#include <string>

namespace sputnik {

/// The tensors of each shard by its file name, which is a plain name in the
/// folder of the index: no path leads out of it.
using ShardIndex = std::map<std::string, llvm::StringSet<>>;

/// Reads the `weight_map` of model.safetensors.index.json. `file` names it in
/// errors.
llvm::Expected<ShardIndex> parseShardIndex(const llvm::json::Value &value,
                                           llvm::StringRef file);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_SHARDINDEX_H
