//===- TokenIds.h - Token ids on the command line ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_TOKENIDS_H
#define SPUTNIK_RUNTIME_TOKENIZER_TOKENIDS_H

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sputnik::rt {

/// Reads "1,2,3": decimal ids separated by commas, white space around each
/// allowed; an empty text is an empty list. Fails with one line in `error` on
/// anything else, negative and huge numbers included.
std::optional<std::vector<int32_t>> parseTokenIds(std::string_view text,
                                                  std::string &error);

/// Writes "1,2,3".
std::string printTokenIds(std::span<const int32_t> ids);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_TOKENIDS_H
