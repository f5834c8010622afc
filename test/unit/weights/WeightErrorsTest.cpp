//===- WeightErrorsTest.cpp - What cannot be written ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightFixture.h"

#include "codegen/weights/MappedPages.h"

#include <limits>
#include <unistd.h>

using namespace llvm;

namespace sputnik::testing {
namespace {

class WeightErrors : public WeightFixture {
protected:
  /// The error of a program that encodes the [2, 3] weight @a as `scheme`.
  std::string errorOf(const std::string &weights, StringRef scheme = "f32") {
    const std::string type =
        "tensor<2x3xf32, #r1.encoding<" + scheme.str() + ">>";
    return errorOfModule(weights + "r1.derived @w : " + type +
                         " at #r1.placement<offset = 0, stride = 0> {\n"
                         "%a = r1.read @a : tensor<2x3xf32>\n"
                         "%e = r1.encode %a : tensor<2x3xf32> -> " +
                         type + "\nr1.yield %e : " + type + "\n}");
  }
  std::string errorOfModule(const std::string &text) {
    auto module = parse(text);
    if (!module)
      return "";
    return failure(writeWeights(*module, *checkpoint, sink, {2, {}}));
  }
  std::string file(StringRef message) {
    return folder.path("model.safetensors") + ": " + message.str();
  }

  MemorySink sink{4096};
};

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST_F(WeightErrors, NaN) {
  add("a", "BF16", {2, 3}, {1, 2, 3, 4, std::nanf(""), infinity});
  open();
  EXPECT_EQ(errorOf(weight("a", "tensor<2x3xf32>", {"a"})),
            file("tensor 'a' holds NaN at element 4, expected finite numbers"));
}

TEST_F(WeightErrors, Infinity) {
  add("other", "F32", {2, 3});
  add("a", "F32", {2, 3}, {1, 2, -infinity, 4, 5, 6});
  open();
  EXPECT_EQ(errorOf(weight("a", "tensor<2x3xf32>", {"a"})),
            file("tensor 'a' holds an infinity at element 2, expected finite "
                 "numbers"));
}

TEST_F(WeightErrors, TooLargeForTheEncoding) {
  add("a", "F32", {2, 3}, {1, 2, 3, std::numeric_limits<float>::max(), 5, 6});
  open();
  const std::string weights = weight("a", "tensor<2x3xf32>", {"a"});
  EXPECT_EQ(errorOf(weights, "f32"), "");
  EXPECT_EQ(errorOf(weights, "bf16"),
            "weight @w has in layer 0 a value too large for bf16");
}

TEST_F(WeightErrors, TheFirstFailureInTheImageIsReported) {
  const int64_t rows = 1 << 16;
  std::vector<float> values(rows * 8, 1);
  values[8 * 20000] = values[8 * 60000] = infinity;
  add("a", "F32", {rows, 8}, values);
  open();
  auto module = parse(weight("a", "tensor<65536x8xf32>", {"a"}) + R"(
    r1.derived @w : tensor<65536x8xf32, #r1.encoding<f32>> at #r1.placement<offset = 0, stride = 0> {
      %a = r1.read @a : tensor<65536x8xf32>
      %e = r1.encode %a : tensor<65536x8xf32> -> tensor<65536x8xf32, #r1.encoding<f32>>
      r1.yield %e : tensor<65536x8xf32, #r1.encoding<f32>>
    })");
  ASSERT_TRUE(module);
  for (unsigned threads : {1, 2, 7}) {
    MemorySink large(rows * 8 * 4);
    EXPECT_EQ(failure(writeWeights(*module, *checkpoint, large, {threads, {}})),
              file("tensor 'a' holds an infinity at element 160000, expected "
                   "finite numbers"));
  }
}

TEST_F(WeightErrors, OfTheSink) {
  add("a", "F32", {2, 3});
  open();
  sink.failAt = 7;
  EXPECT_EQ(errorOf(weight("a", "tensor<2x3xf32>", {"a"})), "no space at 7");
}

TEST_F(WeightErrors, AFileCutShortWhileItIsRead) {
  add("a", "F32", {2, 3});
  add("padding", "F32", {1 << 16});
  add("b", "F32", {2, 3});
  open();
  const std::string weights = weight("a", "tensor<2x3xf32>", {"b"});
  ASSERT_EQ(truncate(folder.path("model.safetensors").c_str(), 4096), 0);
  if (loadPages(checkpoint->data(*checkpoint->find("b"))))
    GTEST_SKIP() << "this kernel cannot tell";
  EXPECT_EQ(errorOf(weights), file("tensor 'b' cannot be read: the file has "
                                   "changed or its disk fails"));
}

TEST_F(WeightErrors, OriginsOutsideTheCheckpoint) {
  add("a", "F32", {2, 3});
  open();
  const auto origin = [](StringRef what) {
    return "r1.weight @a : tensor<2x3xf32> from [#r1.origin<" + what.str() +
           ">]\n";
  };
  EXPECT_EQ(errorOf(origin(R"("other.safetensors", 0, 24, "F32")")),
            "weight @a lies in 'other.safetensors', which is not part of the "
            "checkpoint");
  EXPECT_EQ(errorOf(origin(R"("model.safetensors", 200, 24, "F32")")),
            file("ends before weight @a"));
  EXPECT_EQ(errorOf(origin(
                R"("model.safetensors", 18446744073709551615, 24, "F32")")),
            file("ends before weight @a"));
  EXPECT_EQ(errorOf(origin(R"("model.safetensors", 0, 25, "F32")")),
            "weight @a has 25 bytes, which does not fit the shape [2, 3] of "
            "F32");
  EXPECT_EQ(errorOf(origin(R"("", 0, 0, "random")")),
            "weight @a is stored as 'random', which is not a type of weights");
  EXPECT_EQ(errorOf(origin(R"("model.safetensors", 0, 24, "I32")")),
            "weight @a is stored as 'I32', which is not a type of weights");
}

TEST_F(WeightErrors, ProgramsInACircle) {
  add("a", "F32", {2, 3});
  open();
  EXPECT_EQ(errorOf(R"(
    r1.derived @a : tensor<2x3xf32> {
      %0 = r1.read @b : tensor<2x3xf32>
      r1.yield %0 : tensor<2x3xf32>
    }
    r1.derived @b : tensor<2x3xf32> {
      %0 = r1.read @a : tensor<2x3xf32>
      r1.yield %0 : tensor<2x3xf32>
    })"),
            "weight @a is made from itself");
}

TEST_F(WeightErrors, APlaceWithoutAnEncoding) {
  add("a", "F32", {2, 3});
  open();
  EXPECT_EQ(errorOfModule(weight("a", "tensor<2x3xf32>", {"a"}) + R"(
    r1.derived @w : tensor<2x3xf32> at #r1.placement<offset = 0, stride = 0> {
      %0 = r1.read @a : tensor<2x3xf32>
      r1.yield %0 : tensor<2x3xf32>
    })"),
            "weight @w has a place in the image, but no encoding");
}

TEST_F(WeightErrors, APlaceBeyondTheImage) {
  add("a", "F32", {2, 3});
  open();
  const std::string body = weight("a", "tensor<2x3xf32>", {"a"}) + R"(
    r1.derived @w : tensor<2x3xf32, #r1.encoding<f32>> at #r1.placement<offset = 64, stride = 0> {
      %0 = r1.read @a : tensor<2x3xf32>
      %e = r1.encode %0 : tensor<2x3xf32> -> tensor<2x3xf32, #r1.encoding<f32>>
      r1.yield %e : tensor<2x3xf32, #r1.encoding<f32>>
    })";
  const auto image = [&](StringRef bytes) {
    return "module attributes {r1.image_bytes = " + bytes.str() +
           " : i64} {\n" + body + "}";
  };
  EXPECT_EQ(errorOfModule(image("87")),
            "weight @w lies beyond the end of the image");
  EXPECT_EQ(errorOfModule(image("88")), "");
}

} // namespace
} // namespace sputnik::testing
