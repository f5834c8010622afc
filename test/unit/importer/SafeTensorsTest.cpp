//===- SafeTensorsTest.cpp - Valid safetensors headers --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/SafeTensors.h"

#include "Failure.h"
#include "FileWriters.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

Expected<SafeTensorsFile> parse(StringRef bytes) {
  return SafeTensorsFile::parse(arrayRefFromStringRef(bytes), "x", 7);
}

TEST(SafeTensors, PlacesTensors) {
  const std::string bytes =
      safeTensorsOfZeros({{"b", "F32", {2, 3}, 24}, {"a", "BF16", {5}, 10}});
  Expected<SafeTensorsFile> file = parse(bytes);
  EXPECT_VALUE(file);
  ASSERT_EQ(file->tensors().size(), 2u);
  const TensorRef &b = file->tensors()[0], &a = file->tensors()[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.type, TensorType::F32);
  EXPECT_EQ(ArrayRef(b.shape), ArrayRef<int64_t>({2, 3}));
  EXPECT_EQ(b.offset, bytes.size() - 34);
  EXPECT_EQ(b.bytes, 24u);
  EXPECT_EQ(b.file, 7u);
  EXPECT_EQ(a.offset, bytes.size() - 10);
}

TEST(SafeTensors, OrderOfTheHeaderDoesNotMatter) {
  Expected<SafeTensorsFile> file = parse(safeTensorsFile(
      R"({"z":{"data_offsets":[2,4],"shape":[2],"dtype":"U8"},)"
      R"("y":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}})",
      "1234"));
  EXPECT_VALUE(file);
  EXPECT_EQ(file->tensors()[0].name, "y");
  EXPECT_TRUE(file->tensors()[0].shape.empty());
}

TEST(SafeTensors, EmptyTensorsAndFiles) {
  EXPECT_VALUE(parse(safeTensorsFile("{}      ", "")));
  EXPECT_VALUE(parse(safeTensorsFile("{\"__metadata__\":{}}", "")));
  EXPECT_VALUE(parse(safeTensorsOfZeros({{"e", "F32", {0, 4}, 0},
                                         {"f", "F32", {1}, 4},
                                         {"g", "F32", {3, 0}, 0}})));
}

TEST(SafeTensors, EveryType) {
  std::vector<ShapedTensor> tensors;
  for (StringRef type : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"})
    tensors.push_back({type.str(), type.str(), {3}, 3});
  for (StringRef type : {"I16", "U16", "F16", "BF16"})
    tensors.push_back({type.str(), type.str(), {3}, 6});
  for (StringRef type : {"I32", "U32", "F32"})
    tensors.push_back({type.str(), type.str(), {3}, 12});
  for (StringRef type : {"F64", "I64", "U64"})
    tensors.push_back({type.str(), type.str(), {3}, 24});
  Expected<SafeTensorsFile> file = parse(safeTensorsOfZeros(tensors));
  EXPECT_VALUE(file);
  for (const TensorRef &tensor : file->tensors())
    EXPECT_EQ(tensor.name, name(tensor.type));
}

} // namespace
} // namespace sputnik::testing
