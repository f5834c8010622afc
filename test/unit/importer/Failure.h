//===- Failure.h - Expecting one-line errors --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_IMPORTER_FAILURE_H
#define SPUTNIK_TEST_UNIT_IMPORTER_FAILURE_H

#include "llvm/Support/Error.h"

#include <gtest/gtest.h>

#include <string>

namespace sputnik::testing {

/// The message of an error; empty for a value.
template <typename T> std::string failure(llvm::Expected<T> result) {
  return result ? std::string() : llvm::toString(result.takeError());
}

/// Expects an error of one line that begins with `file` and holds `part`.
template <typename T>
void expectFailure(llvm::Expected<T> result, llvm::StringRef file,
                   llvm::StringRef part) {
  const std::string message = failure(std::move(result));
  EXPECT_TRUE(llvm::StringRef(message).starts_with((file + ": ").str()))
      << "message: " << message;
  EXPECT_NE(message.find(part.str()), std::string::npos)
      << "message: " << message << "\nexpected: " << part.str();
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

/// Expects a value.
#define EXPECT_VALUE(expected)                                                 \
  ASSERT_TRUE(bool(expected)) << llvm::toString((expected).takeError())

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_IMPORTER_FAILURE_H
