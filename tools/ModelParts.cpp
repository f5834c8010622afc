//===- ModelParts.cpp - Where the parameters of a model are ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/ModelParts.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace sputnik;

SmallVector<ModelPart> sputnik::countParts(ModuleOp module) {
  enum { Embedding, Experts, Layers, Head };
  SmallVector<ModelPart> parts = {
      {"embedding"}, {"experts"}, {"layers"}, {"head"}};
  struct Use {
    int part;
    double fraction;
  };
  // A weight with several readers counts where most of it is read.
  llvm::MapVector<StringAttr, Use> uses;
  module->walk([&](r1::WeightUserInterface user) {
    Use use{user->getParentOfType<r1::LayersOp>() ? Layers : Head,
            user.getFractionRead()};
    if (isa<r1::EmbedOp>(user))
      use = {Embedding, 0};
    else if (use.fraction < 1)
      use.part = Experts;
    SmallVector<FlatSymbolRefAttr> names;
    user.getWeights(names);
    for (FlatSymbolRefAttr name : names) {
      auto [it, added] = uses.try_emplace(name.getAttr(), use);
      if (!added && it->second.fraction < use.fraction)
        it->second = use;
    }
  });
  SymbolTable symbols(module);
  for (const auto &[name, use] : uses) {
    int64_t layers = r1::getWeightLayers(symbols.lookup(name));
    RankedTensorType type =
        r1::lookupWeightType(module, FlatSymbolRefAttr::get(name));
    auto read = [&, use = use](int64_t all) {
      return static_cast<int64_t>(static_cast<double>(all) * use.fraction);
    };
    ModelPart &part = parts[use.part];
    int64_t values = layers * type.getNumElements();
    part.parameters += values;
    part.perToken += read(values);
    if (r1::EncodingAttr encoding = r1::getEncoding(type)) {
      int64_t bytes = layers * encoding.getBytes(type.getShape());
      part.bytes += bytes;
      part.bytesPerToken += read(bytes);
    }
  }
  return parts;
}
