//===- GraphText.h - Small graphs, as the importer would write them
//----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_BENCHMARKS_GRAPHTEXT_H
#define SPUTNIK_BENCHMARKS_GRAPHTEXT_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sputnik {

/// Writes a @forward op by op: what is wanted of the model and nothing else, so
/// that one kernel can be checked or timed by itself.
class GraphText {
public:
  /// A value of type tensor<?x`features`xf32>.
  struct Rows {
    std::string name;
    int64_t features;
  };

  struct Cache {
    int64_t heads = 1, dim = 16, positions = 16;
    std::string element = "f32";
    int64_t latent = 0;
  };

  /// What a weight is made from: the list after `from` in r1.weight.
  using Origin = std::function<std::string(llvm::StringRef weight)>;
  /// For weights that nobody reads from a file.
  static std::string randomOrigin(llvm::StringRef weight);

  /// Every op below appends to the function and gives its result.
  explicit GraphText(Cache cache, Origin origin = randomOrigin)
      : cache(std::move(cache)), origin(std::move(origin)) {}
  GraphText() : GraphText(Cache()) {}

  /// Row r is row tokens[r] of `weight`, [vocabulary, features].
  Rows embed(llvm::StringRef weight, int64_t vocabulary, int64_t features);
  /// `headDim` 0 normalises whole rows; an empty `gain` is 1.
  Rows norm(const Rows &x, llvm::StringRef gain, int64_t headDim = 0);
  /// An empty `bias` is none.
  Rows linear(const Rows &x, llvm::StringRef weight, int64_t features,
              llvm::StringRef bias = "");
  Rows swiglu(const Rows &gate, const Rows &up);
  Rows add(const Rows &a, const Rows &b);
  /// With the frequencies 10000^(-2i/headDim).
  Rows rope(const Rows &x, int64_t headDim);
  Rows selectOutputs(const Rows &x);

  /// Ops until endLayers are the body of an r1.layers of one layer.
  Rows beginLayers(const Rows &x);
  /// `y` has as many features as what beginLayers was given.
  Rows endLayers(const Rows &y);
  /// Only inside layers.
  void append(const Rows &keys, const Rows &values);
  /// Only inside layers; the scale is 1/sqrt(cache.dim).
  Rows attention(const Rows &query);

  /// The experts of rows, `slots` for each.
  struct Route {
    std::string chosen, factors;
    int64_t slots;
  };
  Route route(const Rows &scores, llvm::StringRef bias, int64_t groups,
              int64_t keep, int64_t slots, bool normalize, double scale);
  /// Slots of `inner` features; `gate` and `up` are [experts * inner, input].
  Rows expertsUp(const Rows &x, const Route &route, llvm::StringRef gate,
                 llvm::StringRef up, int64_t experts, int64_t inner);
  /// `down` is [experts * features, features of a slot].
  Rows expertsDown(const Rows &x, const Route &route, llvm::StringRef down,
                   int64_t experts, int64_t features);

  /// Only inside layers, with a cache of latents.
  void appendLatent(const Rows &latent, const Rows &key);
  /// The same; the scale is 1/sqrt(features of a head of both). `keys` and
  /// `values` have the matrices of all heads.
  Rows latentAttention(const Rows &query, const Rows &rotary,
                       llvm::StringRef keys, llvm::StringRef values,
                       int64_t valueFeatures);

  static double ropeFrequency(int64_t pair, int64_t headDim);

  /// The module, whose @forward gives `result`: rows of the outputs.
  std::string finish(const Rows &result);

private:
  /// Declares a weight once and gives how ops name it.
  std::string use(llvm::StringRef weight, std::vector<int64_t> shape);
  Rows value(const std::string &op, int64_t features);
  std::string cacheType() const;

  const Cache cache;
  const Origin origin;
  std::string weights, body, table;
  std::vector<std::string> declared;
  int64_t count = 0, streamFeatures = 0;
  bool inLayers = false;
};

} // namespace sputnik

#endif // SPUTNIK_BENCHMARKS_GRAPHTEXT_H
