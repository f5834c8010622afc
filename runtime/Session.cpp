//===- Session.cpp - One conversation in a slot ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Session.h"
#include "runtime/Interrupt.h"

#include <algorithm>
#include <numeric>

namespace sputnik::rt {

/// What feedAll may hold of logits at once.
static constexpr int64_t logitBytesAtOnce = 64 << 20;

Session::Session(Engine &engine, int32_t slot)
    : theEngine(engine), slot(slot),
      slots(static_cast<size_t>(engine.maxRows()), slot),
      positions(static_cast<size_t>(engine.maxRows())),
      rows(static_cast<size_t>(engine.maxRows())) {
  std::iota(rows.begin(), rows.end(), 0);
  engine.cache().clear(slot);
}

void Session::truncate(int64_t count) {
  if (count == 0 && !held.empty())
    theEngine.cache().clear(slot);
  held.resize(static_cast<size_t>(std::min(count, length())));
}

int64_t Session::keepCommonPrefix(std::span<const int32_t> wanted) {
  const size_t most =
      std::min(held.size(), wanted.empty() ? 0 : wanted.size() - 1);
  const auto end = held.begin() + static_cast<std::ptrdiff_t>(most);
  const auto common =
      std::mismatch(held.begin(), end, wanted.begin()).first - held.begin();
  truncate(common);
  return common;
}

Status Session::checkRoom(std::span<const int32_t> tokens) const {
  if (static_cast<int64_t>(tokens.size()) <= room())
    return {};
  return SPUTNIK_ERROR(
      "%lld tokens do not fit the context of %lld tokens",
      static_cast<long long>(length() + static_cast<int64_t>(tokens.size())),
      static_cast<long long>(theEngine.model().maxContext));
}

Status Session::step(std::span<const int32_t> tokens,
                     std::span<const int32_t> outputs, float *logits) {
  const auto end =
      positions.begin() + static_cast<std::ptrdiff_t>(tokens.size());
  std::iota(positions.begin(), end, static_cast<int32_t>(held.size()));
  const Status status = theEngine.forward({
      .tokens = tokens,
      .slots = std::span(slots).first(tokens.size()),
      .positions = std::span(positions).first(tokens.size()),
      .outputs = outputs,
      .logits = logits,
  });
  if (status)
    held.insert(held.end(), tokens.begin(), tokens.end());
  return status;
}

Status Session::feed(std::span<const int32_t> tokens, std::span<float> logits,
                     const StepSink &stepped) {
  if (Status status = checkRoom(tokens); !status)
    return status;
  const auto vocabSize = static_cast<size_t>(theEngine.model().vocabSize);
  while (!tokens.empty() && !interruptRequested()) {
    const size_t count =
        std::min(tokens.size(), static_cast<size_t>(theEngine.maxRows()));
    const size_t first =
        std::min(count, tokens.size() - logits.size() / vocabSize);
    if (Status status =
            step(tokens.first(count),
                 std::span(rows).subspan(first, count - first), logits.data());
        !status)
      return status;
    const auto fed = static_cast<int64_t>(count);
    if (stepped)
      if (Status status = stepped(length() - fed, fed); !status)
        return status;
    tokens = tokens.subspan(count);
    logits = logits.subspan((count - first) * vocabSize);
  }
  return {};
}

Status Session::feedAll(std::span<const int32_t> tokens,
                        const LogitsSink &sink) {
  if (Status status = checkRoom(tokens); !status)
    return status;
  const int64_t vocabSize = theEngine.model().vocabSize;
  const auto atOnce = static_cast<size_t>(std::clamp<int64_t>(
      logitBytesAtOnce / (vocabSize * static_cast<int64_t>(sizeof(float))), 1,
      theEngine.maxRows()));
  std::vector<float> logits(std::min(atOnce, tokens.size()) *
                            static_cast<size_t>(vocabSize));
  for (size_t first = 0; first < tokens.size();) {
    if (interruptRequested())
      return Error{"interrupted"};
    const size_t count = std::min(atOnce, tokens.size() - first);
    if (Status status = step(tokens.subspan(first, count),
                             std::span(rows).first(count), logits.data());
        !status)
      return status;
    if (Status status = sink(static_cast<int64_t>(first),
                             static_cast<int64_t>(count), logits.data());
        !status)
      return status;
    first += count;
  }
  return {};
}

} // namespace sputnik::rt
