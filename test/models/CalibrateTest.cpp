//===- CalibrateTest.cpp - Gathered squares against the checkpoint's ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the first matrix of a model is multiplied with can be told from the
// embeddings and one norm: `sputnik calibrate` must have found the same.
//
//===----------------------------------------------------------------------===//

#include "importer/Checkpoint.h"
#include "importer/InputFile.h"
#include "importer/SafeTensors.h"
#include "test/models/Process.h"

#include "llvm/Support/raw_ostream.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>

using namespace llvm;
using namespace sputnik;

namespace {

/// A bf16 tensor of the checkpoint.
std::vector<double> readTensor(const Checkpoint &checkpoint, StringRef name) {
  const TensorRef *tensor = checkpoint.find(name);
  EXPECT_TRUE(tensor && tensor->type == TensorType::BF16) << name.str();
  ArrayRef<uint8_t> bytes = checkpoint.data(*tensor);
  std::vector<double> values;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const uint32_t bits = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 24;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    values.push_back(value);
  }
  return values;
}

} // namespace

TEST(Calibrate, FirstMatrix) {
  const std::string model = SPUTNIK_SOURCE_DIR "/models/tiny-r1-qwen";
  TemporaryFolder folder;
  const std::string text = folder.path("text"), result = folder.path("result");
  {
    std::error_code error;
    raw_fd_ostream os(text, error);
    for (int i = 0; i < 8; ++i)
      os << "What is " << 37 * i + 5 << " plus " << 91 - i << "?\n";
  }
  run({SPUTNIK_PROGRAM, "calibrate", model, "-f", text, "-o", result});
  run({SPUTNIK_PROGRAM, "compile", model, "-o", folder.path("model"), "--quiet"});
  const std::string ids =
      run({folder.path("model"), "tokenize", "--plain", "--bos", "-f", text});
  SmallVector<StringRef> tokens;
  StringRef(ids).trim().split(tokens, ',');
  // One step of the prefill phase takes them all.
  ASSERT_GT(tokens.size(), 20u);
  ASSERT_LT(tokens.size(), 256u);

  Expected<Checkpoint> checkpoint = Checkpoint::open(model);
  ASSERT_TRUE(static_cast<bool>(checkpoint));
  const std::vector<double> table =
      readTensor(*checkpoint, "model.embed_tokens.weight");
  const std::vector<double> gain =
      readTensor(*checkpoint, "model.layers.0.input_layernorm.weight");
  const size_t columns = gain.size();
  std::vector<double> squares(columns);
  // The last token is only predicted.
  for (StringRef token : ArrayRef(tokens).drop_back()) {
    const double *row = &table[std::stoul(token.str()) * columns];
    double energy = 0;
    for (size_t i = 0; i < columns; ++i)
      energy += row[i] * row[i];
    const double root = std::sqrt(energy / static_cast<double>(columns) + 1e-6);
    for (size_t i = 0; i < columns; ++i)
      squares[i] += std::pow(row[i] / root * gain[i], 2);
  }

  Expected<InputFile> file = InputFile::open(result);
  ASSERT_TRUE(static_cast<bool>(file));
  Expected<SafeTensorsFile> parsed =
      SafeTensorsFile::parse(file->bytes(), result);
  ASSERT_TRUE(static_cast<bool>(parsed));
  const TensorRef *found = find_if(parsed->tensors(), [](const TensorRef &t) {
    return t.name == "attn_q_k_v";
  });
  ASSERT_NE(found, parsed->tensors().end());
  ASSERT_EQ(found->shape, (SmallVector<int64_t, 4>{4, int64_t(columns)}));
  for (size_t i = 0; i < columns; ++i) {
    float value;
    std::memcpy(&value, file->data() + found->offset + i * sizeof(value),
                sizeof(value));
    const double expected =
        squares[i] / static_cast<double>(tokens.size() - 1);
    // Rows are rounded to bf16, by at most 2^-8, where the target multiplies
    // that.
    EXPECT_NEAR(value, expected, 8e-3 * expected) << "column " << i;
  }
}
