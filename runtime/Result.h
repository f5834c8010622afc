//===- Result.h - A value or the reason why there is none -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_RESULT_H
#define SPUTNIK_RUNTIME_RESULT_H

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace sputnik::rt {

/// Why something failed: one line, without the program's name, that says what
/// was found and what was expected.
struct Error {
  std::string message;
};

/// A value of type T or an Error.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : state(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state.index() == 0; }
  /// The value; only after a successful test.
  T &operator*() { return *std::get_if<0>(&state); }
  const T &operator*() const { return *std::get_if<0>(&state); }
  T *operator->() { return std::get_if<0>(&state); }
  const T *operator->() const { return std::get_if<0>(&state); }
  /// The error; only after a failed test.
  const Error &error() const { return *std::get_if<1>(&state); }

private:
  std::variant<T, Error> state;
};

/// Success or an Error; true means success.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Error error) : failure(std::move(error)) {}

  explicit operator bool() const { return !failure; }
  /// The error; only after a failed test.
  const Error &error() const { return *failure; }

private:
  std::optional<Error> failure;
};

/// printf into a string.
std::string format(const char *pattern, ...)
    __attribute__((format(printf, 1, 2)));

/// An Error with a message made by `format`.
#define SPUTNIK_ERROR(...)                                                     \
  (::sputnik::rt::Error{::sputnik::rt::format(__VA_ARGS__)})

/// `text` with control characters and bytes beyond ASCII replaced by '?' and
/// cut to a length that fits into one line: for quoting input in messages.
std::string quotable(const std::string &text);

/// What the C library says about `errorNumber`.
std::string systemMessage(int errorNumber);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_RESULT_H
