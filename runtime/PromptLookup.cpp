//===- PromptLookup.cpp - Guesses that a text repeats itself --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/PromptLookup.h"

#include <algorithm>
#include <utility>

namespace sputnik::rt {

static uint64_t edgeKey(int32_t state, int32_t id) {
  return static_cast<uint64_t>(static_cast<uint32_t>(state)) << 32 |
         static_cast<uint32_t>(id);
}

void PromptLookup::begin(std::span<const int32_t> newText) {
  *this = PromptLookup();
  for (int32_t id : newText)
    append(id);
}

PromptLookup::Edge *PromptLookup::find(int32_t state, int32_t id) {
  const auto found = index.find(edgeKey(state, id));
  return found == index.end() ? nullptr
                              : &edges[static_cast<size_t>(found->second)];
}

void PromptLookup::addEdge(int32_t state, int32_t id, int32_t target) {
  const auto edge = static_cast<int32_t>(edges.size());
  State &from = states[static_cast<size_t>(state)];
  edges.push_back({id, target, std::exchange(from.firstEdge, edge)});
  index.emplace(edgeKey(state, id), edge);
}

int32_t PromptLookup::split(int32_t state, Edge edge) {
  const int32_t length = states[static_cast<size_t>(state)].length + 1;
  State &whole = states[static_cast<size_t>(edge.target)];
  if (whole.length == length)
    return edge.target;
  const auto part = static_cast<int32_t>(states.size());
  const int32_t wholeEdges = whole.firstEdge;
  const State shorter = {length, std::exchange(whole.shorter, part), whole.end,
                         none};
  states.push_back(shorter);
  for (int32_t i = wholeEdges; i != none;) {
    const Edge copied = edges[static_cast<size_t>(i)];
    addEdge(part, copied.id, copied.target);
    i = copied.next;
  }
  for (Edge *to; state != none && (to = find(state, edge.id)) &&
                 to->target == edge.target;
       state = states[static_cast<size_t>(state)].shorter)
    to->target = part;
  return part;
}

void PromptLookup::append(int32_t id) {
  text.push_back(id);
  const auto length = static_cast<int32_t>(text.size());
  const auto whole = static_cast<int32_t>(states.size());
  states.push_back({length, none, length, none});
  int32_t from = std::exchange(last, whole);
  Edge *edge = nullptr;
  for (; from != none && !(edge = find(from, id));
       from = states[static_cast<size_t>(from)].shorter)
    addEdge(from, id, whole);
  const int32_t before = edge ? split(from, *edge) : 0;
  states[static_cast<size_t>(whole)].shorter = before;

  State &match = states[static_cast<size_t>(before)];
  matchLength = static_cast<size_t>(match.length);
  matchEnd = static_cast<size_t>(std::exchange(match.end, length));
}

Result<std::vector<Guess>> PromptLookup::guess(size_t most) {
  std::vector<Guess> guesses;
  if (matchLength < shortestMatch)
    return guesses;
  // The more is the same, the farther it is believed.
  const size_t count = std::min(most, matchLength / 2);
  for (size_t at = matchEnd; guesses.size() < count; ++at)
    guesses.push_back(
        {at < text.size() ? text[at] : guesses[at - text.size()].id, {}});
  return guesses;
}

} // namespace sputnik::rt
