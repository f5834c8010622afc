//===- GgufNames.cpp - GGUF tensor names to Hugging Face names ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/GgufNames.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik {
namespace {

struct NamePair {
  StringLiteral gguf, huggingFace;
};

constexpr NamePair modelNames[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

/// Within a layer, without `.weight` or `.bias`.
constexpr NamePair layerNames[] = {
    {"attn_norm", "input_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"attn_q_a", "self_attn.q_a_proj"},
    {"attn_q_a_norm", "self_attn.q_a_layernorm"},
    {"attn_q_b", "self_attn.q_b_proj"},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
    {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
    {"attn_kv_b", "self_attn.kv_b_proj"},
    {"attn_k_b", "self_attn.k_b_proj"},
    {"attn_v_b", "self_attn.v_b_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_exps", "mlp.experts.gate_proj"},
    {"ffn_up_exps", "mlp.experts.up_proj"},
    {"ffn_down_exps", "mlp.experts.down_proj"},
    {"ffn_gate_shexp", "mlp.shared_experts.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_experts.up_proj"},
    {"ffn_down_shexp", "mlp.shared_experts.down_proj"},
    {"nextn.eh_proj", "eh_proj"},
    {"nextn.embed_tokens", "embed_tokens"},
    {"nextn.enorm", "enorm"},
    {"nextn.hnorm", "hnorm"},
    {"nextn.shared_head_head", "shared_head.head"},
    {"nextn.shared_head_norm", "shared_head.norm"},
};

} // namespace

std::string huggingFaceName(StringRef ggufName) {
  for (const NamePair &pair : modelNames)
    if (ggufName == pair.gguf)
      return pair.huggingFace.str();

  StringRef rest = ggufName;
  if (!rest.consume_front("blk."))
    return ggufName.str();
  auto [layer, inLayer] = rest.split('.');
  if (layer.empty() || !all_of(layer, isDigit))
    return ggufName.str();
  const std::string prefix = ("model.layers." + layer + ".").str();
  if (inLayer == "exp_probs_b.bias")
    return prefix + "mlp.gate.e_score_correction_bias";
  auto [stem, suffix] = inLayer.rsplit('.');
  if (suffix != "weight" && suffix != "bias")
    return ggufName.str();
  for (const NamePair &pair : layerNames)
    if (stem == pair.gguf)
      return (prefix + pair.huggingFace + "." + suffix).str();
  // Files from before experts were merged: `ffn_gate.3`.
  auto [matrix, expert] = stem.split('.');
  if (!expert.empty() && all_of(expert, isDigit))
    for (StringRef kind : {"gate", "up", "down"})
      if (matrix == ("ffn_" + kind).str())
        return (prefix + "mlp.experts." + expert + "." + kind + "_proj." +
                suffix)
            .str();
  return ggufName.str();
}

} // namespace sputnik
