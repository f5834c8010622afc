//===- Json.h - JSON from untrusted files -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_JSON_H
#define SPUTNIK_IMPORTER_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <optional>

namespace sputnik {

/// Arrays and objects may be nested this deep.
inline constexpr unsigned maxJsonDepth = 64;

/// What a text may cost: 1 for an element of an array, 4 for a member of an
/// object, 64 for an object; about so many times 64 bytes of memory. The
/// largest known texts, tokenizers and the index of DeepSeek-R1, cost about 1.5
/// million; all tensors of DeepSeek-R1 in one safetensors file would cost 7.5
/// million.
inline constexpr uint64_t maxJsonCost = 8'000'000;

/// Parses `text`. Beyond what llvm::json::parse checks, refuses bytes that are
/// not UTF-8, nesting deeper than maxJsonDepth, a cost above maxJsonCost and an
/// object that has the same key twice. Never recurses deeper than
/// maxJsonDepth; takes linear time.
/// Errors: `file: line 3, column 4: ...`.
llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text,
                                            llvm::StringRef file);

/// The value of a whole number of magnitude below 2^62, in any spelling
/// (`10000`, `1e4`); nothing for any other value.
std::optional<int64_t> jsonInteger(const llvm::json::Value &value);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_JSON_H
