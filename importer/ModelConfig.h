//===- ModelConfig.h - What a checkpoint says of its model ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_MODELCONFIG_H
#define SPUTNIK_IMPORTER_MODELCONFIG_H

#include "importer/TensorRef.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sputnik {

class GgufFile;

/// How positions rotate queries and keys.
struct RopeConfig {
  enum class Kind { None, Llama3, Yarn };

  /// The base of the frequencies, above 1.
  double theta = 10000;
  /// How the frequencies are scaled. What follows up to `betaSlow` says how, as
  /// far as the kind uses it.
  Kind kind = Kind::None;
  double factor = 1;                ///< At least 1.
  double lowFreqFactor = 1;         ///< llama3; less than highFreqFactor.
  double highFreqFactor = 4;        ///< llama3.
  int64_t originalMaxPositions = 0; ///< llama3, yarn; at least 1.
  double betaFast = 32;             ///< yarn; above betaSlow.
  double betaSlow = 1;              ///< yarn.
  /// yarn, Hugging Face's `attention_factor`: the factor on cos and sin.
  std::optional<double> attentionFactor;
  /// yarn, `attn_factor`: multiplies the usual factor on cos and sin. Hugging
  /// Face does not know it; other engines honour it.
  std::optional<double> attnFactor;
  std::optional<double> mscale, mscaleAllDim; ///< yarn, `deepseek_v3`.
  /// GGUF's rope_freqs: empty, or headDim / 2 divisors of the frequencies,
  /// positive and finite. Then `kind` is None.
  std::vector<float> divisors;

  /// What cos and sin are multiplied with: 1 unless the kind is yarn. Without
  /// `honourAttnFactor`, what Hugging Face computes.
  double cosSinFactor(bool honourAttnFactor = true) const;
  /// What latent attention multiplies scores with besides: the square of what
  /// `mscaleAllDim` comes to.
  double scoreFactor() const;
};

/// Latent attention: keys and values of all heads are made from one latent.
struct LatentConfig {
  /// Features between the two matrices that make queries; 0: there is one.
  int64_t queryRank = 0;
  int64_t rank = 0;     ///< Features of the latent.
  int64_t keyDim = 0;   ///< Of each head's queries and keys, without the
  int64_t rotaryDim = 0; ///< features that RoPE turns, which keys share.
  int64_t valueDim = 0; ///< Of each head.
  /// The checkpoint's rotary pairs are neighbours.
  bool interleaved = true;
};

/// Layers from `firstLayer` on have experts in place of one feed-forward net.
struct ExpertsConfig {
  int64_t firstLayer = 0; ///< At most the number of layers.
  int64_t count = 0;      ///< A multiple of groups, at least twice as many.
  int64_t chosen = 0;     ///< At most those of the kept groups.
  int64_t groups = 0, keptGroups = 0;
  int64_t shared = 0;    ///< Experts that every token uses.
  int64_t innerSize = 0; ///< Of one expert.
  bool normalize = true; ///< The factors of a token's experts add up to scale.
  double scale = 1;
};

/// Sizes and constants of a model, from config.json or from GGUF metadata. All
/// values are checked: sizes are positive and at most 2^24, their products as
/// far as named fit easily in 64 bits.
struct ModelConfig {
  /// `llama`, `qwen2`, `qwen3`, `deepseek_v3`.
  std::string modelType;
  int64_t hiddenSize = 0;
  int64_t intermediateSize = 0;
  int64_t layers = 0; ///< At most 1000.
  /// Layers behind those that predict tokens farther ahead.
  int64_t draftLayers = 0;
  int64_t heads = 0;  ///< A multiple of kvHeads.
  int64_t kvHeads = 0;
  int64_t headDim = 0; ///< Even. heads * headDim need not be hiddenSize.
  int64_t vocabSize = 0;
  int64_t maxPositions = 0;
  double rmsNormEps = 0; ///< Above 0, at most 1.
  /// The head is the embedding table.
  bool tieWordEmbeddings = false;
  bool attentionBias = false;       ///< Of q, k and v.
  bool attentionOutputBias = false; ///< Of o.
  bool qkNorm = false; ///< RMS norms over each head of q and k (qwen3).
  RopeConfig rope;
  /// Both of `deepseek_v3`, where headDim is latent->rotaryDim.
  std::optional<LatentConfig> latent;
  std::optional<ExpertsConfig> experts;
  /// Rows and columns that share a scale where weights are stored with scales.
  std::array<int64_t, 2> scaleBlock = {128, 128};
  bool float8 = false; ///< Matrices of layers are stored in FP8 with scales.
  /// Each less than vocabSize. A checkpoint's generation_config.json, the
  /// better source, takes precedence over its config.json.
  std::optional<int64_t> bosId;
  llvm::SmallVector<int64_t, 4> eosIds;
};

/// What a checkpoint says of sampling.
struct GenerationConfig {
  bool doSample = false;
  std::optional<double> temperature; ///< 0 to 100.
  std::optional<double> topP;        ///< Above 0, at most 1.
  std::optional<int64_t> topK;       ///< At least 1; a file's 0 means none.
  std::optional<int64_t> bosId;      ///< Less than the vocabulary's size.
  llvm::SmallVector<int64_t, 4> eosIds;
};

/// Reads config.json in all known spellings. Refuses, naming the key, a value
/// out of range and a feature that would change the arithmetic; ignores all
/// other keys. `file` names it in errors.
llvm::Expected<ModelConfig> modelConfigFromJson(const llvm::json::Value &value,
                                                llvm::StringRef file);

/// Reads generation_config.json of a model with `vocabSize` tokens.
llvm::Expected<GenerationConfig>
generationConfigFromJson(const llvm::json::Value &value, llvm::StringRef file,
                         int64_t vocabSize);

/// Reads the metadata of a GGUF file. `tensors` are those of all parts, with
/// Hugging Face names; they tell what the metadata does not: rows of the
/// embedding, biases, a tied head. RopeConfig::divisors is left to the caller.
llvm::Expected<ModelConfig>
modelConfigFromGguf(const GgufFile &file, llvm::ArrayRef<TensorRef> tensors);

/// Sets TensorRef::permutedHeads in the tensors of a GGUF checkpoint.
void markPermutedRows(const ModelConfig &config,
                      llvm::MutableArrayRef<TensorRef> tensors);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_MODELCONFIG_H
