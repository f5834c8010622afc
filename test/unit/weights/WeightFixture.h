//===- WeightFixture.h - Checkpoints and programs for tests -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_WEIGHTS_WEIGHTFIXTURE_H
#define SPUTNIK_TEST_UNIT_WEIGHTS_WEIGHTFIXTURE_H

#include "codegen/weights/Float8.h"
#include "codegen/weights/WeightEncoder.h"
#include "codegen/weights/WeightWriter.h"
#include "dialect/R1.h"
#include "test/unit/importer/CheckpointFolder.h"
#include "test/unit/importer/Failure.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <random>

namespace sputnik::testing {

/// Keeps an image in memory.
class MemorySink : public WeightSink {
public:
  explicit MemorySink(uint64_t bytes) : image(bytes) {}
  llvm::Error write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes) override {
    if (failAt && offset <= *failAt && *failAt < offset + bytes.size())
      return llvm::createStringError("no space at " + llvm::Twine(*failAt));
    std::copy(bytes.begin(), bytes.end(), image.begin() + offset);
    return llvm::Error::success();
  }

  std::vector<uint8_t> image;
  std::optional<uint64_t> failAt;
};

/// A checkpoint of tensors that the test chooses, and programs over them.
class WeightFixture : public ::testing::Test {
protected:
  WeightFixture() { context.loadDialect<r1::R1Dialect>(); }

  /// Adds a tensor; without values, pseudo-random ones. Values of F8_E4M3 are
  /// rounded.
  void add(llvm::StringRef name, llvm::StringRef dtype,
           std::vector<int64_t> shape, std::vector<float> values = {}) {
    size_t count = 1;
    for (int64_t size : shape)
      count *= size;
    std::normal_distribution<float> normal;
    while (values.size() < count)
      values.push_back(normal(random));
    const size_t begin = data.size();
    if (dtype == "F8_E4M3") {
      data.resize(begin + values.size());
      toFloat8(values, 1, reinterpret_cast<uint8_t *>(data.data() + begin));
    } else {
      for (float value : values)
        data += dtype == "BF16" ? u16Bytes(toBFloat16(value)) : f32Bytes(value);
    }
    header += (header.empty() ? "{\"" : ", \"") + name.str() +
              "\": {\"dtype\": \"" + dtype.str() + "\", \"shape\": [";
    for (size_t i = 0; i < shape.size(); ++i)
      header += (i ? "," : "") + std::to_string(shape[i]);
    header += "], \"data_offsets\": [" + std::to_string(begin) + "," +
              std::to_string(data.size()) + "]}";
  }

  /// Opens the checkpoint of all tensors added.
  void open() {
    folder.write("config.json", smallConfig("llama"));
    folder.write("model.safetensors", safeTensorsFile(header + "}", data));
    openFile(folder.path());
  }
  void openFile(const std::string &path) {
    llvm::Expected<Checkpoint> opened = Checkpoint::open(path);
    ASSERT_TRUE(static_cast<bool>(opened)) << toString(opened.takeError());
    checkpoint.emplace(std::move(*opened));
  }

  /// `r1.weight @symbol ... from [...]` for the stack of `tensors`.
  std::string weight(llvm::StringRef symbol, llvm::StringRef type,
                     std::vector<std::string> tensors, bool stacked = false) {
    std::string text = "r1.weight @" + symbol.str();
    if (stacked)
      text += " layers(" + std::to_string(tensors.size()) + ")";
    text += " : " + type.str() + " from [";
    for (const std::string &name : tensors) {
      const TensorRef *tensor = checkpoint->find(name);
      EXPECT_TRUE(tensor) << name;
      if (!tensor)
        return "";
      llvm::StringRef file = checkpoint->files()[tensor->file].path();
      text += (text.back() == '[' ? "#r1.origin<\"" : ", #r1.origin<\"") +
              llvm::sys::path::filename(file).str() + "\", " +
              std::to_string(tensor->offset) + ", " +
              std::to_string(tensor->bytes) + ", \"" +
              sputnik::name(tensor->type).str() + "\">";
    }
    return text + "]\n";
  }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(
        text, mlir::ParserConfig(&context));
    EXPECT_TRUE(module) << text;
    return module;
  }

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  CheckpointFolder folder;
  std::optional<Checkpoint> checkpoint;

private:
  std::mt19937 random{1};
  std::string header, data;
};

} // namespace sputnik::testing

#endif // SPUTNIK_TEST_UNIT_WEIGHTS_WEIGHTFIXTURE_H
