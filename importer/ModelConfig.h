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
