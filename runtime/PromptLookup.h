//===- PromptLookup.h - Guesses that a text repeats itself ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_PROMPTLOOKUP_H
#define SPUTNIK_RUNTIME_PROMPTLOOKUP_H

#include "runtime/Drafter.h"

#include <unordered_map>

namespace sputnik::rt {

/// Guesses that the text goes on as it did where its last tokens stood before:
/// answers quote the prompt and their own thinking.
///
/// The text is kept as a suffix automaton (Blumer et al. 1985), which knows
/// after each token the longest end of the text that stood before. Time and
/// memory are linear in the length of the text, however repetitive it is.
class PromptLookup : public Drafter {
public:
  /// A shorter match is taken for chance.
  static constexpr size_t shortestMatch = 2;

  void begin(std::span<const int32_t> text) override;
  void append(int32_t id) override;
  Status stepped(int64_t, int64_t) override { return {}; }
  Result<std::vector<Guess>> guess(size_t most) override;

private:
  static constexpr int32_t none = -1;

  /// Stands for some ends of beginnings of the text, each the end of the next,
  /// that occur at the same places.
  struct State {
    int32_t length;    ///< Of the longest.
    int32_t shorter;   ///< The state of the longest end that is not in this.
    int32_t end;       ///< Where the longest stood, of late if that is known.
    int32_t firstEdge; ///< Its edges, a list.
  };
  struct Edge {
    int32_t id, target, next;
  };

  /// The edge of `state` by `id`, null if there is none.
  Edge *find(int32_t state, int32_t id);
  void addEdge(int32_t state, int32_t id, int32_t target);
  /// The state reached by `edge` of `state`, split so that its longest is one
  /// token longer than that of `state`.
  int32_t split(int32_t state, Edge edge);

  std::vector<int32_t> text;
  std::vector<State> states = {{0, none, 0, none}};
  std::vector<Edge> edges;
  /// Indices into `edges` by state and token.
  std::unordered_map<uint64_t, int32_t> index;
  /// The state of the whole text.
  int32_t last = 0;
  /// Where the end of the text stood before, and how much of it.
  size_t matchEnd = 0, matchLength = 0;
};

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_PROMPTLOOKUP_H
