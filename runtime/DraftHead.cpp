//===- DraftHead.cpp - Guesses of the model's own draft head --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/DraftHead.h"

#include <algorithm>
#include <numeric>

namespace sputnik::rt {

DraftHead::DraftHead(Engine &engine, int32_t slot, Sampler &sampler,
                     size_t tokens)
    : engine(engine), sampler(sampler), tokens(tokens),
      slots(static_cast<size_t>(engine.maxRows()), slot),
      positions(static_cast<size_t>(engine.maxRows())),
      logits(static_cast<size_t>(engine.model().vocabSize)) {}

void DraftHead::begin(std::span<const int32_t> newText) {
  text.assign(newText.begin(), newText.end());
  unread = 0;
}

Status DraftHead::step(std::span<const int32_t> next, int64_t position,
                       bool wantLogits) {
  const auto rows = std::span(positions).first(next.size());
  std::iota(rows.begin(), rows.end(), static_cast<int32_t>(position));
  const auto lastRow = static_cast<int32_t>(next.size()) - 1;
  return engine.draft({
      .tokens = next,
      .slots = std::span(slots).first(next.size()),
      .positions = rows,
      .outputs = std::span(&lastRow, wantLogits ? 1 : 0),
      .logits = logits.data(),
  });
}

Status DraftHead::stepped(int64_t first, int64_t count) {
  unread = first;
  // The next step takes the place of these states. Of the last one that is
  // made of the text, the token after it is not known yet.
  const int64_t end = first + count;
  if (end >= static_cast<int64_t>(text.size()))
    return {};
  return step(std::span(text).subspan(static_cast<size_t>(first) + 1,
                                      static_cast<size_t>(count)),
              first, /*wantLogits=*/false);
}

Result<std::vector<Guess>> DraftHead::guess(size_t most) {
  std::vector<Guess> guesses;
  most = std::min(most, tokens);
  if (most == 0)
    return guesses;
  const auto next =
      std::span(text).subspan(static_cast<size_t>(unread) + 1);
  if (Status status = step(next, unread, /*wantLogits=*/true); !status)
    return status.error();
  int64_t position = static_cast<int64_t>(text.size()) - 2;
  if (Status status =
          engine.moveState(static_cast<int64_t>(next.size()) - 1, 0);
      !status)
    return status.error();
  while (true) {
    Result<Distribution> drawn = sampler.distribution(logits);
    if (!drawn)
      return drawn.error();
    const int32_t id = sampler.draw(*drawn);
    guesses.push_back({id, std::move(*drawn)});
    if (guesses.size() == most)
      return guesses;
    if (Status status =
            step(std::span(&id, 1), ++position, /*wantLogits=*/true);
        !status)
      return status.error();
  }
}

} // namespace sputnik::rt
