//===- GgufNames.h - GGUF tensor names to Hugging Face names ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_GGUFNAMES_H
#define SPUTNIK_IMPORTER_GGUFNAMES_H

#include "llvm/ADT/StringRef.h"

#include <string>

namespace sputnik {

/// The tensor of RoPE divisors, which has no Hugging Face name.
inline constexpr llvm::StringLiteral ropeFreqsName = "rope_freqs.weight";

/// `blk.3.attn_q.bias` to `model.layers.3.self_attn.q_proj.bias`; a name that
/// has no counterpart stays as it is. Stacked experts, which Hugging Face files
/// keep apart, become `....mlp.experts.gate_proj.weight` [experts, out, in].
std::string huggingFaceName(llvm::StringRef ggufName);

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_GGUFNAMES_H
