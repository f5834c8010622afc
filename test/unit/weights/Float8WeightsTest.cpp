//===- Float8WeightsTest.cpp - FP8 checkpoints into FP8 images ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightFixture.h"

#include "llvm/Support/MathExtras.h"

#include <functional>

using namespace llvm;

namespace sputnik::testing {
namespace {

constexpr int64_t sourceRows = 300, sourceColumns = 270;

/// A program over %b, the [300, 270] matrix with its scales of 128 x 128.
struct Program {
  StringLiteral name, body;
  int64_t rows, columns;
  /// Where in the file a value comes from; a row beyond the last is padding.
  std::function<std::pair<int64_t, int64_t>(int64_t row, int64_t column)>
      source;
};

const Program programs[] = {
    {"whole", "%v = r1.slice_rows %b part 300 first 0 : tensor<300x270xf32> -> "
              "tensor<300x270xf32>\n",
     300, 270, [](int64_t row, int64_t column) {
       return std::pair(row, column);
     }},
    {"slice_rows",
     "%v = r1.slice_rows %b part 150 first 20 : tensor<300x270xf32> -> "
     "tensor<200x270xf32>\n",
     200, 270, [](int64_t row, int64_t column) {
       return std::pair(row / 100 * 150 + 20 + row % 100, column);
     }},
    {"unpermute",
     "%v = r1.unpermute %b head_dim 50 : tensor<300x270xf32>\n", 300, 270,
     [](int64_t row, int64_t column) {
       const int64_t head = row / 50 * 50, r = row % 50;
       return std::pair(head + (r < 25 ? 2 * r : 2 * (r - 25) + 1), column);
     }},
    {"concat",
     "%v = r1.concat %b, %b block 16 part 150 : (tensor<300x270xf32>, "
     "tensor<300x270xf32>) -> tensor<640x270xf32>\n",
     640, 270, [](int64_t row, int64_t column) {
       const int64_t inPart = row % 320, from = inPart / 32 * 16 + inPart % 16;
       return std::pair(from < 150 ? row / 320 * 150 + from : sourceRows,
                        column);
     }},
    {"slice_columns",
     "%v = r1.slice_columns %b first 128 : tensor<300x270xf32> -> "
     "tensor<300x142xf32>\n",
     300, 142, [](int64_t row, int64_t column) {
       return std::pair(row, 128 + column);
     }},
    {"transpose",
     "%c = r1.slice_rows %b part 300 first 0 : tensor<300x270xf32> -> "
     "tensor<256x270xf32>\n"
     "%v = r1.transpose %c part 128 : tensor<256x270xf32> -> "
     "tensor<540x128xf32>\n",
     540, 128, [](int64_t row, int64_t column) {
       return std::pair(row / 270 * 128 + column, row % 270);
     }},
};

class Float8WeightsTest : public WeightFixture {
protected:
  void SetUp() override {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 60);
    std::vector<float> values(sourceRows * sourceColumns);
    for (float &value : values)
      value = normal(random);
    // With every exponent, and zeros of both signs.
    for (size_t i = 0; i < values.size(); i += 5)
      values[i] *= std::exp2(-static_cast<float>(i % 16));
    for (size_t i = 0; i < values.size(); i += 97)
      values[i] = i % 2 ? -0.0f : 0.0f;
    add("w", "F8_E4M3", {sourceRows, sourceColumns}, values);
    std::uniform_real_distribution<float> scale(1e-4f, 1e-3f);
    for (int i = 0; i < 9; ++i)
      scales.push_back(scale(random));
    add("s", "F32", {3, 3}, scales);
    open();
  }

  /// The image of a program whose result has this encoding.
  std::vector<uint8_t> write(const Program &program, r1::EncodingAttr encoding,
                             StringRef encodingText) {
    const std::string plain =
        formatv("tensor<{0}x{1}xf32>", program.rows, program.columns);
    const std::string encoded = formatv("tensor<{0}x{1}xf32, {2}>",
                                        program.rows, program.columns,
                                        encodingText);
    auto module = parse(
        weight("w", "tensor<300x270xf32>", {"w"}) +
        weight("s", "tensor<3x3xf32>", {"s"}) + "r1.derived @d : " + encoded +
        " at #r1.placement<offset = 0, stride = 0> {\n"
        "%w = r1.read @w : tensor<300x270xf32>\n"
        "%s = r1.read @s : tensor<3x3xf32>\n"
        "%b = r1.block_scale %w, %s block [128, 128] : tensor<300x270xf32>, "
        "tensor<3x3xf32>\n" +
        program.body.str() + "%e = r1.encode %v : " + plain + " -> " + encoded +
        "\nr1.yield %e : " + encoded + "\n}\n");
    EXPECT_TRUE(module);
    MemorySink sink(encoding.getBytes({program.rows, program.columns}));
    if (module) {
      Expected<ContentId> id = writeWeights(*module, *checkpoint, sink);
      EXPECT_TRUE(static_cast<bool>(id)) << toString(id.takeError());
    }
    return std::move(sink.image);
  }

  std::vector<float> scales;
};

TEST_F(Float8WeightsTest, KeepsTheBytesAndScalesOfTheFile) {
  const ArrayRef<uint8_t> file = checkpoint->data(*checkpoint->find("w"));
  for (const Program &program : programs)
    for (int64_t panel : {1, 16}) {
      SCOPED_TRACE((program.name + ", panel " + Twine(panel)).str());
      const std::string text =
          formatv("#r1.encoding<fp8, panel = {0}, step = 4>", panel);
      const std::vector<uint8_t> image = write(
          program,
          r1::EncodingAttr::get(&context, r1::Scheme::FP8, panel, 4), text);
      const int64_t blockBytes = panel * (4 + 128);
      int64_t panelBytes = divideCeil(program.columns, 128) * blockBytes;
      if (panel > 1)
        panelBytes = alignTo(panelBytes, 64);
      for (int64_t row = 0; row < program.rows; ++row)
        for (int64_t column = 0; column < program.columns; ++column) {
          const uint8_t *block = image.data() + row / panel * panelBytes +
                                 column / 128 * blockBytes;
          const int64_t lane = row % panel, inBlock = column % 128;
          const uint8_t byte =
              block[4 * panel + (inBlock / 4 * panel + lane) * 4 + inBlock % 4];
          float scale;
          std::memcpy(&scale, block + 4 * lane, sizeof(scale));
          const auto [r, c] = program.source(row, column);
          const bool exists = r < sourceRows;
          ASSERT_EQ(byte, exists ? file[r * sourceColumns + c] : 0)
              << row << ' ' << column;
          ASSERT_EQ(scale, exists ? scales[r / 128 * 3 + c / 128] : 0)
              << row << ' ' << column;
        }
    }
}

TEST_F(Float8WeightsTest, QuantizesWhatWasChanged) {
  // Blocks that begin elsewhere have values of two scales; both are covered.
  const Program shifted = {
      "shifted",
      "%v = r1.slice_columns %b first 64 : tensor<300x270xf32> -> "
      "tensor<300x206xf32>\n",
      300, 206, nullptr};
  const auto encoding =
      r1::EncodingAttr::get(&context, r1::Scheme::FP8, 1, 4);
  const std::vector<uint8_t> image =
      write(shifted, encoding, "#r1.encoding<fp8, panel = 1, step = 4>");
  auto type = mlir::RankedTensorType::get(
      {300, 206}, mlir::Float32Type::get(&context), encoding);
  std::vector<float> found(300 * 206), file(sourceRows * sourceColumns);
  WeightEncoder(type).decode(image, 300, found);
  const TensorRef &w = *checkpoint->find("w");
  dequantize(w.type, checkpoint->data(w).data(), file.data(), file.size());
  for (int64_t row = 0; row < 300; ++row)
    for (int64_t first = 0; first < 206; first += 128) {
      const int64_t end = std::min<int64_t>(first + 128, 206);
      std::vector<float> exact;
      float largest = 0;
      for (int64_t column = first; column < end; ++column) {
        const int64_t c = 64 + column;
        exact.push_back(file[row * sourceColumns + c] *
                        scales[row / 128 * 3 + c / 128]);
        largest = std::max(largest, std::abs(exact.back()));
      }
      // Half a unit in the last of 4 bits, or of the subnormal numbers' unit.
      for (int64_t column = first; column < end; ++column)
        ASSERT_NEAR(found[row * 206 + column], exact[column - first],
                    std::max(std::abs(exact[column - first]) / 16,
                             largest / 448 * 0x1p-10f) *
                        1.001f)
            << row << ' ' << column;
    }
}

} // namespace
} // namespace sputnik::testing
