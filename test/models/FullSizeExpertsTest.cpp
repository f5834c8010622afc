//===- FullSizeExpertsTest.cpp - The first layers of a 671B model ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The configuration of DeepSeek-R1 cut to 3 dense layers and as many layers with
// all 256 experts as the disk holds, at most two: 28 GB in FP8. The checkpoint is
// a sparse file whose weights are zeros but for embeddings and routers, which
// make tokens choose experts; the executable is stored whole. Time is printed,
// never tested.
//
//===----------------------------------------------------------------------===//

#include "test/models/Memory.h"
#include "test/models/Process.h"

#include <fcntl.h>
#include <functional>
#include <random>

using namespace llvm;
using namespace sputnik;

namespace {

constexpr int kDenseLayers = 3, kExperts = 256;

/// Writes a safetensors file with holes for what is zero.
class SparseCheckpoint {
public:
  /// The bytes that a tensor begins with; the others are zero.
  using Content = std::function<std::string()>;

  void add(const Twine &name, const char *dtype, std::vector<int64_t> shape,
           Content content = nullptr) {
    uint64_t bytes = StringRef(dtype) == "F32" ? 4 : *dtype == 'B' ? 2 : 1;
    header += (header.empty() ? "{\"" : ", \"") + name.str() +
              "\": {\"dtype\": \"" + dtype + "\", \"shape\": [";
    for (size_t i = 0; i < shape.size(); ++i) {
      header += (i ? ", " : "") + std::to_string(shape[i]);
      bytes *= shape[i];
    }
    header += "], \"data_offsets\": [" + std::to_string(end) + ", " +
              std::to_string(end + bytes) + "]}";
    if (content)
      contents.emplace_back(end, content);
    end += bytes;
  }

  /// A matrix in FP8 and its scales, all of which are 2^-7.
  void addMatrix(const Twine &name, int64_t rows, int64_t columns) {
    const int64_t down = (rows + 127) / 128, across = (columns + 127) / 128;
    add(name + ".weight", "F8_E4M3", {rows, columns});
    add(name + ".weight_scale_inv", "F32", {down, across}, [=] {
      return repeat(StringRef("\0\0\0\x3c", 4), down * across);
    });
  }

  /// A gain of ones.
  void addGain(const Twine &name, int64_t size) {
    add(name + ".weight", "BF16", {size},
        [=] { return repeat(StringRef("\x80\x3f", 2), size); });
  }

  /// A matrix in bf16 whose first rows are random.
  void addRandom(const Twine &name, int64_t rows, int64_t columns,
                 int64_t filled) {
    add(name + ".weight", "BF16", {rows, columns}, [=] {
      std::mt19937 random(static_cast<unsigned>(rows));
      std::string bytes;
      for (int64_t i = 0; i < filled * columns; ++i) {
        // Magnitudes from 2^-7 up to 2^-5.
        bytes += static_cast<char>(random());
        bytes += static_cast<char>(random() % 2 ? 0x3c : 0xbc);
      }
      return bytes;
    });
  }

  void write(const std::string &path) {
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t size = header.size();
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
    ASSERT_GE(file, 0);
    const auto put = [&](const void *bytes, uint64_t count, uint64_t at) {
      EXPECT_EQ(pwrite(file, bytes, count, at), static_cast<ssize_t>(count));
    };
    put(&size, 8, 0);
    put(header.data(), size, 8);
    EXPECT_EQ(ftruncate(file, 8 + size + end), 0);
    for (const auto &[offset, content] : contents) {
      const std::string bytes = content();
      put(bytes.data(), bytes.size(), 8 + size + offset);
    }
    EXPECT_EQ(close(file), 0);
  }

  uint64_t bytes() const { return end; }

private:
  static std::string repeat(StringRef unit, int64_t count) {
    std::string bytes;
    for (int64_t i = 0; i < count; ++i)
      bytes += unit;
    return bytes;
  }

  std::string header;
  uint64_t end = 0;
  std::vector<std::pair<uint64_t, Content>> contents;
};

/// Values of DeepSeek-R1's config.json that shapes depend on.
constexpr int64_t hidden = 7168, heads = 128, vocabulary = 129280;

void addLayer(SparseCheckpoint &checkpoint, int layer) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  checkpoint.addGain(prefix + "input_layernorm", hidden);
  checkpoint.addGain(prefix + "post_attention_layernorm", hidden);
  const std::string attention = prefix + "self_attn.";
  checkpoint.addMatrix(attention + "q_a_proj", 1536, hidden);
  checkpoint.addGain(attention + "q_a_layernorm", 1536);
  checkpoint.addMatrix(attention + "q_b_proj", heads * 192, 1536);
  checkpoint.addMatrix(attention + "kv_a_proj_with_mqa", 576, hidden);
  checkpoint.addGain(attention + "kv_a_layernorm", 512);
  checkpoint.addMatrix(attention + "kv_b_proj", heads * 256, 512);
  checkpoint.addMatrix(attention + "o_proj", hidden, heads * 128);
  const auto addMlp = [&](const Twine &name, int64_t inner) {
    checkpoint.addMatrix(name + ".gate_proj", inner, hidden);
    checkpoint.addMatrix(name + ".up_proj", inner, hidden);
    checkpoint.addMatrix(name + ".down_proj", hidden, inner);
  };
  if (layer < kDenseLayers)
    return addMlp(prefix + "mlp", 18432);
  checkpoint.addRandom(prefix + "mlp.gate", kExperts, hidden, kExperts);
  checkpoint.add(prefix + "mlp.gate.e_score_correction_bias", "F32",
                 {kExperts});
  for (int expert = 0; expert < kExperts; ++expert)
    addMlp(prefix + "mlp.experts." + Twine(expert), 2048);
  addMlp(prefix + "mlp.shared_experts", 2048);
}

void writeConfig(int layers, const std::string &path) {
  std::error_code code;
  raw_fd_ostream os(path, code);
  ASSERT_FALSE(code);
  os << R"({"model_type": "deepseek_v3", "hidden_size": 7168,
    "intermediate_size": 18432, "num_hidden_layers": )"
     << layers << R"(, "num_attention_heads": 128, "num_key_value_heads": 128,
    "vocab_size": 129280, "max_position_embeddings": 163840,
    "rms_norm_eps": 1e-6, "hidden_act": "silu", "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "n_routed_experts": 256, "num_experts_per_tok": 8,
    "n_group": 8, "topk_group": 4, "n_shared_experts": 1,
    "moe_intermediate_size": 2048, "first_k_dense_replace": 3,
    "norm_topk_prob": true, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "routed_scaling_factor": 2.5,
    "rope_theta": 10000, "rope_scaling": {"type": "yarn", "factor": 40,
      "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0,
      "original_max_position_embeddings": 4096},
    "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": false,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3",
      "activation_scheme": "dynamic", "weight_block_size": [128, 128]}})";
}

double seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since)
      .count();
}

} // namespace

TEST(FullSizeExpertsTest, CompilesInLittleMemoryAndRunsFromTheFile) {
  TemporaryFolder folder;
  ErrorOr<sys::fs::space_info> space = sys::fs::disk_space(folder.path("."));
  constexpr uint64_t gigabyte = 1'000'000'000;
  if (!space || space->available < 18 * gigabyte)
    GTEST_SKIP() << "less than 18 GB free for the executable";
  const int layers =
      kDenseLayers + (space->available < 32 * gigabyte ? 1 : 2);
  ASSERT_FALSE(sys::fs::create_directory(folder.path("checkpoint")));
  writeConfig(layers, folder.path("checkpoint/config.json"));
  SparseCheckpoint checkpoint;
  checkpoint.addRandom("model.embed_tokens", vocabulary, hidden, 64);
  for (int layer = 0; layer < layers; ++layer)
    addLayer(checkpoint, layer);
  checkpoint.addGain("model.norm", hidden);
  checkpoint.addRandom("lm_head", vocabulary, hidden, 64);
  checkpoint.write(folder.path("checkpoint/model.safetensors"));
  ASSERT_FALSE(HasFailure());

  const std::string model = folder.path("model");
  auto begin = std::chrono::steady_clock::now();
  uint64_t peak = peakOf({SPUTNIK_PROGRAM, "compile",
                          folder.path("checkpoint"), "-o", model, "--quant=fp8",
                          "--max-context=4096", "--threads=2", "--quiet"});
  uint64_t size = 0;
  ASSERT_FALSE(sys::fs::file_size(model, size));
  std::printf("%d layers, %.1f GB: compiled in %.0f s with %.0f MB of anonymous "
              "memory, %.1f GB\n",
              layers, checkpoint.bytes() / 1e9, seconds(begin), peak / 1e6,
              size / 1e9);
  EXPECT_GT(peak, 0u);
  EXPECT_LE(peak, uint64_t(1) << 30);

  begin = std::chrono::steady_clock::now();
  peak = peakOf({model, "run", "--ids", "3,17,42,5,63,9,28,50", "-n", "16",
                 "--temp", "0", "--print-ids", "--ignore-eos"});
  std::printf("ran in %.0f s with %.0f MB of anonymous memory\n",
              seconds(begin), peak / 1e6);
  EXPECT_LE(peak, 2 * gigabyte);
}
