//===- FullSizeTest.cpp - Shapes of real models, in the long mode ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A checkpoint of 3.5 GB compiles within 1 GB of anonymous memory and runs; the
// largest shape that a machine holds runs from its configuration alone. Time is
// printed, never tested.
//
//===----------------------------------------------------------------------===//

#include "test/models/Memory.h"
#include "test/models/Process.h"

#include <chrono>

using namespace llvm;
using namespace sputnik;

namespace {

/// The shape of a distilled Qwen, as its config.json says it.
struct Shape {
  const char *name;
  int hidden, mlp, layers, heads, kvHeads, vocabulary;
  double gigabytes; ///< Memory that its bf16 weights and the rest take.
};

constexpr Shape kShapes[] = {
    {"1.5B", 1536, 8960, 28, 12, 2, 151936, 5},
    {"7B", 3584, 18944, 28, 28, 4, 152064, 18},
};

void writeConfig(const Shape &shape, StringRef folder) {
  ASSERT_FALSE(sys::fs::create_directory(folder));
  std::error_code code;
  raw_fd_ostream os((folder + "/config.json").str(), code);
  ASSERT_FALSE(code);
  os << "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\","
     << " \"hidden_act\": \"silu\", \"hidden_size\": " << shape.hidden
     << ", \"intermediate_size\": " << shape.mlp
     << ", \"num_hidden_layers\": " << shape.layers
     << ", \"num_attention_heads\": " << shape.heads
     << ", \"num_key_value_heads\": " << shape.kvHeads
     << ", \"vocab_size\": " << shape.vocabulary
     << ", \"max_position_embeddings\": 131072, \"rms_norm_eps\": 1e-06,"
     << " \"rope_theta\": 10000, \"tie_word_embeddings\": false,"
     << " \"bos_token_id\": 151643, \"eos_token_id\": 151643,"
     << " \"torch_dtype\": \"bfloat16\", \"use_sliding_window\": false}\n";
}

double gigabytesAvailable() {
  auto info = MemoryBuffer::getFileAsStream("/proc/meminfo");
  if (!info)
    return 0;
  StringRef rest = (*info)->getBuffer().split("MemAvailable:").second.ltrim();
  uint64_t kilobytes = 0;
  return rest.consumeInteger(10, kilobytes) ? 0 : kilobytes / 1e6;
}

} // namespace

TEST(FullSizeTest, CompilesInLittleMemory) {
  ErrorOr<std::string> python = sys::findProgramByName("python3");
  if (!python || execute({*python, "-c", "import numpy"}).status != 0)
    GTEST_SKIP() << "no python3 with numpy, which write the checkpoint";
  TemporaryFolder folder;
  ErrorOr<sys::fs::space_info> space = sys::fs::disk_space(folder.path("."));
  if (!space || space->available < uint64_t(9) << 30)
    GTEST_SKIP() << "less than 9 GB free for the checkpoint and the result";
  writeConfig(kShapes[0], folder.path("shape"));
  run({*python, SPUTNIK_SOURCE_DIR "/models/make_random_checkpoint.py",
       folder.path("shape/config.json"), folder.path("checkpoint")});
  ASSERT_FALSE(HasFailure());

  auto begin = std::chrono::steady_clock::now();
  uint64_t peak =
      peakOf({SPUTNIK_PROGRAM, "compile", folder.path("checkpoint"), "-o",
              folder.path("model"), "--quant=bf16", "--threads=2", "--quiet"});
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("compiled in %.1f s with %.0f MB of anonymous memory\n",
              time.count(), peak / 1e6);
  EXPECT_GT(peak, 0u);
  EXPECT_LE(peak, uint64_t(1) << 30);
  std::string ids = run({folder.path("model"), "run", "--ids", "1,2,3", "-n",
                         "8", "--temp", "0", "--print-ids", "--ignore-eos"});
  EXPECT_EQ(StringRef(ids).count(','), 7u) << ids;
}

TEST(FullSizeTest, RunsFromTheConfigurationAlone) {
  for (const Shape &shape : kShapes) {
    SCOPED_TRACE(shape.name);
    if (gigabytesAvailable() < shape.gigabytes) {
      std::printf("%s left out: less than %.0f GB of memory available\n",
                  shape.name, shape.gigabytes);
      continue;
    }
    TemporaryFolder folder;
    writeConfig(shape, folder.path("shape"));
    run({SPUTNIK_PROGRAM, "compile", folder.path("shape"), "-o",
         folder.path("model"), "--quant=bf16", "--weights=random", "--quiet"});
    std::string ids = run({folder.path("model"), "run", "--ids", "1,2,3", "-n",
                           "2", "--temp", "0", "--print-ids", "--ignore-eos"});
    EXPECT_EQ(StringRef(ids).count(','), 1u) << ids;
  }
}
