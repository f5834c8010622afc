//===- GraphText.cpp - Small graphs, as the importer would write them
//--------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "benchmarks/GraphText.h"
#include "importer/Graph.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace sputnik;
using llvm::formatv;
using llvm::StringRef;

static std::string rowsType(int64_t features) {
  return formatv("tensor<?x{0}xf32>", features);
}

std::string GraphText::randomOrigin(StringRef) {
  return formatv("[#r1.origin<\"\", 0, 0, \"{0}\">]", kRandomStored);
}

std::string GraphText::cacheType() const {
  return formatv("!r1.kv_cache<layers = 1, heads = {0}, dim = {1}, element = "
                 "{2}, positions = {3}{4}>",
                 cache.heads, cache.dim, cache.element, cache.positions,
                 cache.latent ? formatv(", latent = {0}", cache.latent).str()
                              : "");
}

std::string GraphText::use(StringRef weight, std::vector<int64_t> shape) {
  if (!llvm::is_contained(declared, weight.str())) {
    declared.push_back(weight.str());
    std::string sizes;
    for (int64_t size : shape)
      sizes += std::to_string(size) + "x";
    weights += formatv("r1.weight @{0}{1} : tensor<{2}f32> from {3}\n", weight,
                       inLayers ? " layers(1)" : "", sizes, origin(weight));
  }
  return formatv("@{0}{1}", weight, inLayers ? "[%layer]" : "");
}

GraphText::Rows GraphText::value(const std::string &op, int64_t features) {
  Rows result = {"%" + std::to_string(count++), features};
  body += result.name + " = r1." + op + "\n";
  return result;
}

GraphText::Rows GraphText::embed(StringRef weight, int64_t vocabulary,
                                 int64_t features) {
  return value(formatv("embed %tokens, {0} : tensor<?xi32> -> {1}",
                       use(weight, {vocabulary, features}), rowsType(features)),
               features);
}

GraphText::Rows GraphText::norm(const Rows &x, StringRef gain,
                                int64_t headDim) {
  const int64_t length = headDim ? headDim : x.features;
  return value(formatv("rms_norm {0}{1}{2} eps 1.0e-6 : {3}", x.name,
                       gain.empty() ? "" : ", " + use(gain, {length}),
                       headDim ? formatv(" head_dim {0}", headDim).str() : "",
                       rowsType(x.features)),
               x.features);
}

GraphText::Rows GraphText::linear(const Rows &x, StringRef weight,
                                  int64_t features, StringRef bias) {
  const std::string matrix = use(weight, {features, x.features});
  if (!bias.empty())
    use(bias, {features});
  return value(formatv("linear {0}, {1}{2} : {3} -> {4}", x.name, matrix,
                       bias.empty() ? "" : formatv(" bias @{0}", bias).str(),
                       rowsType(x.features), rowsType(features)),
               features);
}

GraphText::Rows GraphText::swiglu(const Rows &gate, const Rows &up) {
  return value(formatv("swiglu {0}, {1} : {2}", gate.name, up.name,
                       rowsType(up.features)),
               up.features);
}

GraphText::Rows GraphText::add(const Rows &a, const Rows &b) {
  return value(
      formatv("add {0}, {1} : {2}", a.name, b.name, rowsType(a.features)),
      a.features);
}

double GraphText::ropeFrequency(int64_t pair, int64_t headDim) {
  return std::pow(10000.0, -2.0 * static_cast<double>(pair) /
                               static_cast<double>(headDim));
}

GraphText::Rows GraphText::rope(const Rows &x, int64_t headDim) {
  if (table.empty()) {
    table = "%table = r1.rope_table %positions frequencies [";
    for (int64_t i = 0; i < headDim / 2; ++i)
      table += formatv("{0}{1:e17}", i ? ", " : "", ropeFrequency(i, headDim));
    table +=
        formatv("] magnitude 1.0 : tensor<?xi32> -> {0}\n", rowsType(headDim));
  }
  return value(formatv("rope {0}, %table head_dim {1} : {2}, {3}", x.name,
                       headDim, rowsType(x.features), rowsType(headDim)),
               x.features);
}

GraphText::Rows GraphText::selectOutputs(const Rows &x) {
  return value(formatv("select_rows {0}, %outputs : {1}, tensor<?xi32>", x.name,
                       rowsType(x.features)),
               x.features);
}

GraphText::Rows GraphText::beginLayers(const Rows &x) {
  body += formatv("%layers = r1.layers {0} count 1 first 0 : {1} {{\n"
                  "^bb0(%layer: index, %x: {1}):\n",
                  x.name, rowsType(x.features));
  inLayers = true;
  streamFeatures = x.features;
  return {"%x", x.features};
}

GraphText::Rows GraphText::endLayers(const Rows &y) {
  body += formatv("r1.yield {0} : {1}\n}\n", y.name, rowsType(y.features));
  inLayers = false;
  return {"%layers", streamFeatures};
}

void GraphText::append(const Rows &keys, const Rows &values) {
  body += formatv("r1.kv_append %cache[%layer] keys {0} : {2} values {1} : {2} "
                  "at %slots, %positions : {3}, tensor<?xi32>, tensor<?xi32>\n",
                  keys.name, values.name, rowsType(keys.features), cacheType());
}

GraphText::Rows GraphText::attention(const Rows &query) {
  return value(
      formatv("attention {0}, %cache[%layer] at %slots, %positions scale "
              "{1:e17} : {2}, {3}, tensor<?xi32>, tensor<?xi32>",
              query.name, 1 / std::sqrt(static_cast<double>(cache.dim)),
              rowsType(query.features), cacheType()),
      query.features);
}

GraphText::Route GraphText::route(const Rows &scores, StringRef bias,
                                  int64_t groups, int64_t keep, int64_t slots,
                                  bool normalize, double scale) {
  const std::string name = std::to_string(count++);
  Route result = {"%chosen" + name, "%factors" + name, slots};
  body += formatv("{0}, {1} = r1.route {2}, {3} groups {4} keep {5}{6} scale "
                  "{7:e17} : {8} -> tensor<?x{9}xi32>, {10}\n",
                  result.chosen, result.factors, scores.name,
                  use(bias, {scores.features}), groups, keep,
                  normalize ? " normalize" : "", scale,
                  rowsType(scores.features), slots, rowsType(slots));
  return result;
}

GraphText::Rows GraphText::expertsUp(const Rows &x, const Route &route,
                                     StringRef gate, StringRef up,
                                     int64_t experts, int64_t inner) {
  const std::vector<int64_t> shape = {experts * inner, x.features};
  use(gate, shape);
  const std::string last = use(up, shape);
  return value(formatv("experts_up {0}, {1}, @{2} up {3} experts {4} : {5}, "
                       "tensor<?x{6}xi32> -> {7}",
                       x.name, route.chosen, gate, last, experts,
                       rowsType(x.features), route.slots,
                       rowsType(route.slots * inner)),
               route.slots * inner);
}

GraphText::Rows GraphText::expertsDown(const Rows &x, const Route &route,
                                       StringRef down, int64_t experts,
                                       int64_t features) {
  const std::string matrix =
      use(down, {experts * features, x.features / route.slots});
  return value(formatv("experts_down {0}, {1}, {2}, {3} experts {4} : {5}, "
                       "tensor<?x{6}xi32>, {7} -> {8}",
                       x.name, route.chosen, route.factors, matrix, experts,
                       rowsType(x.features), route.slots, rowsType(route.slots),
                       rowsType(features)),
               features);
}

void GraphText::appendLatent(const Rows &latent, const Rows &key) {
  body += formatv("r1.latent_append %cache[%layer] {0}, {1} at %slots, "
                  "%positions : {2}, {3}, {4}, tensor<?xi32>, tensor<?xi32>\n",
                  latent.name, key.name, cacheType(), rowsType(latent.features),
                  rowsType(key.features));
}

GraphText::Rows GraphText::latentAttention(const Rows &query,
                                           const Rows &rotary, StringRef keys,
                                           StringRef values,
                                           int64_t valueFeatures) {
  const int64_t heads = rotary.features / (cache.dim - cache.latent);
  use(keys, {query.features, cache.latent});
  use(values, {heads * valueFeatures, cache.latent});
  const double scale = 1 / std::sqrt(static_cast<double>(
                               (query.features + rotary.features) / heads));
  return value(
      formatv("latent_attention {0}, {1}, %cache[%layer] keys @{2} values @{3} "
              "at %slots, %positions scale {4:e17} : {5}, {6}, {7}, "
              "tensor<?xi32>, tensor<?xi32> -> {8}",
              query.name, rotary.name, keys, values, scale,
              rowsType(query.features), rowsType(rotary.features), cacheType(),
              rowsType(heads * valueFeatures)),
      heads * valueFeatures);
}

std::string GraphText::finish(const Rows &result) {
  return weights +
         formatv("func.func @forward(%tokens: tensor<?xi32>, %slots: "
                 "tensor<?xi32>, %positions: tensor<?xi32>, %outputs: "
                 "tensor<?xi32>, %cache: {0}) -> {1} {{\n",
                 cacheType(), rowsType(result.features))
             .str() +
         table + body +
         formatv("return {0} : {1}\n}\n", result.name,
                 rowsType(result.features))
             .str();
}
