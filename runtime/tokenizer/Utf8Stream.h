//===- Utf8Stream.h - Text from bytes that arrive in parts ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_UTF8STREAM_H
#define SPUTNIK_RUNTIME_TOKENIZER_UTF8STREAM_H

#include <string>
#include <string_view>

namespace sputnik::rt {

/// Makes valid UTF-8 of bytes that arrive cut anywhere, as the bytes of tokens
/// do. A character is withheld until its last byte is there (at most three
/// bytes wait); what cannot become a character is replaced by U+FFFD, one for
/// each longest beginning of a sequence.
class Utf8Stream {
public:
  /// Takes the next bytes and returns the text that is certain by now.
  std::string push(std::string_view bytes);

  /// Ends the stream: U+FFFD for an unfinished character, else nothing. The
  /// object is then as new.
  std::string finish();

private:
  std::string pending;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_UTF8STREAM_H
