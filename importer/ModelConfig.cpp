//===- ModelConfig.cpp - What a checkpoint says of its model --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ModelConfig.h"

#include "importer/InputError.h"
#include "importer/ModelConfigChecks.h"

#include <cmath>

using namespace llvm;

namespace sputnik {
namespace {

constexpr ModelFamily families[] = {
    {"llama", "llama", false, false, /*ggufPermutesQK=*/true, 0},
    {"qwen2", "qwen2", /*attentionBias=*/true, false, false, 0},
    {"qwen3", "qwen3", false, /*qkNorm=*/true, false, 128},
    {"deepseek_v3", "deepseek2", false, false, false, 0},
};

std::string familyNames(StringLiteral ModelFamily::*name) {
  std::string text = "one of ";
  for (const ModelFamily &family : families)
    text += (&family == families ? "" : ", ") + (family.*name).str();
  return text;
}

} // namespace

ArrayRef<ModelFamily> modelFamilies() { return families; }

const ModelFamily *familyOfModelType(ConfigFields &fields,
                                     StringRef modelType) {
  for (const ModelFamily &family : families)
    if (modelType == family.modelType)
      return &family;
  fields.wrong("model_type", familyNames(&ModelFamily::modelType));
  return nullptr;
}

const ModelFamily *familyOfGguf(ConfigFields &fields, StringRef architecture) {
  for (const ModelFamily &family : families)
    if (architecture == family.ggufArchitecture)
      return &family;
  fields.wrong("general.architecture",
               familyNames(&ModelFamily::ggufArchitecture));
  return nullptr;
}

void readSizes(ConfigFields &fields, const ConfigKeys &keys,
               const ModelFamily &family, ModelConfig &config) {
  config.hiddenSize = fields.integer(keys.hidden, 1, maxDimension);
  config.intermediateSize = fields.integer(keys.intermediate, 1, maxDimension);
  config.layers = fields.integer(keys.layers, 1, maxLayers);
  config.heads = fields.integer(keys.heads, 1, maxDimension);
  config.kvHeads = fields.integer(keys.kvHeads, 1, maxDimension, config.heads);
  config.maxPositions = fields.integer(keys.positions, 1, maxContext);
  config.rmsNormEps = fields.real(keys.eps, {0, 1});
  if (config.heads % config.kvHeads != 0)
    fields.wrong(keys.kvHeads, "a divisor of the " + Twine(config.heads) +
                                   " attention heads");

  if (std::optional<int64_t> headDim =
          fields.optionalInteger(keys.headDim, 2, maxHeadDim)) {
    config.headDim = *headDim;
    if (config.headDim % 2 != 0)
      fields.wrong(keys.headDim, "an even number");
  } else if (family.headDim != 0) {
    config.headDim = family.headDim;
  } else {
    config.headDim = config.hiddenSize / config.heads;
    if (config.hiddenSize % config.heads != 0 || config.headDim % 2 != 0 ||
        config.headDim > maxHeadDim)
      fields.wrong(keys.hidden, "an even multiple, at most " +
                                    Twine(maxHeadDim) + " times, of the " +
                                    Twine(config.heads) + " attention heads");
  }
  if (config.heads * config.headDim > maxDimension)
    fields.wrong(keys.heads, "at most " + Twine(maxDimension / config.headDim) +
                                 " heads of size " + Twine(config.headDim));
}

void checkRope(ConfigFields &fields, const RopeConfig &rope) {
  if (rope.kind == RopeConfig::Kind::Llama3 &&
      rope.lowFreqFactor >= rope.highFreqFactor)
    fields.fail("the llama3 scaling's low_freq_factor is not less than its "
                "high_freq_factor");
  if (rope.kind == RopeConfig::Kind::Yarn && rope.betaSlow >= rope.betaFast)
    fields.fail("the yarn scaling's beta_slow is not less than its beta_fast");
}

/// How much longer contexts sharpen scores, after the YaRN paper.
static double yarnScale(double factor, double weight) {
  return 0.1 * weight * std::log(factor) + 1;
}

double RopeConfig::cosSinFactor(bool honourAttnFactor) const {
  if (kind != Kind::Yarn)
    return 1;
  if (attentionFactor)
    return *attentionFactor;
  double result = yarnScale(factor, 1);
  if (mscale.value_or(0) != 0 && mscaleAllDim.value_or(0) != 0)
    result = yarnScale(factor, *mscale) / yarnScale(factor, *mscaleAllDim);
  return honourAttnFactor ? result * attnFactor.value_or(1) : result;
}

double RopeConfig::scoreFactor() const {
  if (kind != Kind::Yarn)
    return 1;
  const double scale = yarnScale(factor, mscaleAllDim.value_or(0));
  return scale * scale;
}

} // namespace sputnik
