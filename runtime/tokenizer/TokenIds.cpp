//===- TokenIds.cpp - Token ids on the command line -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/TokenIds.h"

#include <charconv>

namespace sputnik::rt {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_last_not_of(space) + 1 - begin);
}

} // namespace

std::optional<std::vector<int32_t>> parseTokenIds(std::string_view text,
                                                  std::string &error) {
  std::vector<int32_t> ids;
  text = trim(text);
  if (text.empty())
    return ids;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = trim(text.substr(0, comma));
    int32_t id = 0;
    const auto [end, status] =
        std::from_chars(item.data(), item.data() + item.size(), id);
    if (status != std::errc() || end != item.data() + item.size() || id < 0) {
      error = "element " + std::to_string(ids.size() + 1) +
              " of the list of ids is not a token id, expected numbers such "
              "as 1,2,3";
      return std::nullopt;
    }
    ids.push_back(id);
    if (comma == std::string_view::npos)
      return ids;
    text.remove_prefix(comma + 1);
  }
}

std::string printTokenIds(std::span<const int32_t> ids) {
  std::string text;
  char digits[16];
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0)
      text += ',';
    const auto [end, status] =
        std::to_chars(digits, digits + sizeof(digits), ids[i]);
    text.append(digits, end);
  }
  return text;
}

} // namespace sputnik::rt
