//===- TextInput.h - Text from a file or a stream ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_TEXTINPUT_H
#define SPUTNIK_RUNTIME_TOKENIZER_TEXTINPUT_H

#include <cstddef>
#include <istream>
#include <optional>
#include <string>

namespace sputnik::rt {

/// All bytes of the file at `path`, or of `input` where there is no path. Fails
/// with one line in `error`: no such file, a folder, a read error, more than
/// `maxBytes`.
std::optional<std::string> readText(const std::optional<std::string> &path,
                                    std::istream &input, size_t maxBytes,
                                    std::string &error);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_TEXTINPUT_H
