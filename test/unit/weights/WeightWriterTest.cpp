//===- WeightWriterTest.cpp - Images against the reference ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ReferenceProgram.h"
#include "WeightFixture.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

class WeightWriterTest : public WeightFixture {
protected:
  /// Writes the image with one, two and five threads; all must give what the
  /// reference gives.
  ContentId check(mlir::ModuleOp module, uint64_t bytes) {
    const std::vector<uint8_t> expected =
        referenceImage(module, *checkpoint, bytes);
    std::optional<ContentId> identity;
    for (unsigned threads : {1, 2, 5}) {
      MemorySink sink(bytes);
      uint64_t done = 0, total = 0;
      Expected<ContentId> result =
          writeWeights(module, *checkpoint, sink,
                       {threads, [&](uint64_t nowDone, uint64_t nowTotal) {
                          EXPECT_GT(nowDone, done);
                          done = nowDone;
                          total = nowTotal;
                        }});
      if (!result) {
        ADD_FAILURE() << toString(result.takeError());
        return {};
      }
      EXPECT_EQ(done, total);
      EXPECT_GT(total, 0u);
      // Printing two images would help nobody.
      EXPECT_TRUE(sink.image == expected) << threads << " threads";
      EXPECT_EQ(*result, identity.value_or(*result)) << threads << " threads";
      identity = *result;
    }
    return *identity;
  }
};

/// A program of one op on [37, 19] weights @a, @b and a gain, with `encoding`.
std::string derived(StringRef body, StringRef type, StringRef encoding) {
  const std::string encoded =
      "tensor<" + type.str() + "xf32, #r1.encoding<" + encoding.str() + ">>";
  return "r1.derived @w : " + encoded +
         " at #r1.placement<offset = 64, stride = 0> {\n" + body.str() +
         "%e = r1.encode %v : tensor<" + type.str() + "xf32> -> " + encoded +
         "\nr1.yield %e : " + encoded + "\n}\n";
}

struct Program {
  StringLiteral name, body, type;
};

constexpr Program programs[] = {
    {"read", "%v = r1.read @a : tensor<37x19xf32>\n", "37x19"},
    {"vector", "%v = r1.read @gain : tensor<19xf32>\n", "19"},
    {"zero", "%v = r1.zero : tensor<37x19xf32>\n", "37x19"},
    {"scale_columns",
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%g = r1.read @gain : tensor<19xf32>\n"
     "%v = r1.scale_columns %a, %g : tensor<37x19xf32>, tensor<19xf32>\n",
     "37x19"},
    {"slice_columns",
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%v = r1.slice_columns %a first 5 : tensor<37x19xf32> -> "
     "tensor<37x11xf32>\n",
     "37x11"},
    {"concat",
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%z = r1.zero : tensor<3x19xf32>\n"
     "%b = r1.read @b : tensor<37x19xf32>\n"
     "%v = r1.concat %a, %z, %b : (tensor<37x19xf32>, tensor<3x19xf32>, "
     "tensor<37x19xf32>) -> tensor<77x19xf32>\n",
     "77x19"},
    {"concat of vectors",
     "%a = r1.read @gain : tensor<19xf32>\n"
     "%z = r1.zero : tensor<6xf32>\n"
     "%v = r1.concat %a, %z, %a : (tensor<19xf32>, tensor<6xf32>, "
     "tensor<19xf32>) -> tensor<44xf32>\n",
     "44"},
    {"concat block",
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%b = r1.read @b : tensor<37x19xf32>\n"
     "%v = r1.concat %a, %b block 16 : (tensor<37x19xf32>, "
     "tensor<37x19xf32>) -> tensor<96x19xf32>\n",
     "96x19"},
    {"concat block of three",
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%b = r1.read @b : tensor<37x19xf32>\n"
     "%v = r1.concat %a, %b, %a block 5 : (tensor<37x19xf32>, "
     "tensor<37x19xf32>, tensor<37x19xf32>) -> tensor<120x19xf32>\n",
     "120x19"},
    {"unpermute",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%v = r1.unpermute %q head_dim 20 : tensor<60x19xf32>\n",
     "60x19"},
    {"unpermute a vector",
     "%q = r1.read @q_bias : tensor<60xf32>\n"
     "%v = r1.unpermute %q head_dim 12 : tensor<60xf32>\n",
     "60"},
    {"concat block of parts",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%v = r1.concat %q, %q block 8 part 12 : (tensor<60x19xf32>, "
     "tensor<60x19xf32>) -> tensor<160x19xf32>\n",
     "160x19"},
    {"filled parts",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%v = r1.concat %q block 16 part 20 : (tensor<60x19xf32>) -> "
     "tensor<96x19xf32>\n",
     "96x19"},
    {"slice_rows",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%v = r1.slice_rows %q part 15 first 4 : tensor<60x19xf32> -> "
     "tensor<28x19xf32>\n",
     "28x19"},
    {"transpose",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%v = r1.transpose %q part 20 : tensor<60x19xf32> -> "
     "tensor<57x20xf32>\n",
     "57x20"},
    {"block_scale",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%s = r1.slice_rows %a part 37 first 3 : tensor<37x19xf32> -> "
     "tensor<8x19xf32>\n"
     "%v = r1.block_scale %q, %s block [8, 1] : tensor<60x19xf32>, "
     "tensor<8x19xf32>\n",
     "60x19"},
    {"block_scale of parts",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%t = r1.transpose %q part 12 : tensor<60x19xf32> -> tensor<95x12xf32>\n"
     "%s = r1.slice_rows %t part 19 first 2 : tensor<95x12xf32> -> "
     "tensor<15x12xf32>\n"
     "%c = r1.transpose %s part 3 : tensor<15x12xf32> -> tensor<60x3xf32>\n"
     "%d = r1.slice_rows %c part 12 first 5 : tensor<60x3xf32> -> "
     "tensor<15x3xf32>\n"
     "%v = r1.block_scale %q, %d block [5, 7] part 12 : tensor<60x19xf32>, "
     "tensor<15x3xf32>\n",
     "60x19"},
    {"everything",
     "%q = r1.read @q : tensor<60x19xf32>\n"
     "%u = r1.unpermute %q head_dim 10 : tensor<60x19xf32>\n"
     "%a = r1.read @a : tensor<37x19xf32>\n"
     "%c = r1.concat %u, %a : (tensor<60x19xf32>, tensor<37x19xf32>) -> "
     "tensor<97x19xf32>\n"
     "%g = r1.read @gain : tensor<19xf32>\n"
     "%s = r1.scale_columns %c, %g : tensor<97x19xf32>, tensor<19xf32>\n"
     "%v = r1.concat %s, %c block 7 : (tensor<97x19xf32>, "
     "tensor<97x19xf32>) -> tensor<196x19xf32>\n",
     "196x19"},
};

TEST_F(WeightWriterTest, EveryOpInEveryLayout) {
  add("a", "BF16", {37, 19});
  add("b", "F32", {37, 19});
  add("q", "BF16", {60, 19});
  add("q_bias", "F32", {60});
  add("gain", "F32", {19});
  open();
  const std::string weights = weight("a", "tensor<37x19xf32>", {"a"}) +
                              weight("b", "tensor<37x19xf32>", {"b"}) +
                              weight("q", "tensor<60x19xf32>", {"q"}) +
                              weight("q_bias", "tensor<60xf32>", {"q_bias"}) +
                              weight("gain", "tensor<19xf32>", {"gain"});
  for (const Program &program : programs)
    for (StringRef encoding :
         {"f32", "bf16", "f32, panel = 16, step = 1",
          "f32, panel = 16, step = 3", "bf16, panel = 16, step = 1",
          "bf16, panel = 16, step = 2", "bf16, panel = 8, step = 4",
          "bf16, panel = 5, step = 7", "bf16, panel = 1, step = 32"}) {
      SCOPED_TRACE((program.name + ", " + encoding).str());
      auto module =
          parse(weights + derived(program.body, program.type, encoding));
      ASSERT_TRUE(module);
      check(*module, 64 * 1024);
    }
}

TEST_F(WeightWriterTest, LayersOfStacksAndWeightsThatAllShare) {
  for (StringRef name : {"a0", "a1", "a2"})
    add(name, "BF16", {9, 8});
  add("gain", "F32", {8});
  open();
  auto module = parse(
      weight("a", "tensor<9x8xf32>", {"a0", "a1", "a2"}, /*stacked=*/true) +
      weight("gain", "tensor<8xf32>", {"gain"}) + R"(
    r1.derived @w layers(3) : tensor<9x8xf32, #r1.encoding<bf16, panel = 4, step = 2>>
        at #r1.placement<offset = 128, stride = 320> {
      %a = r1.read @a : tensor<9x8xf32>
      %g = r1.read @gain : tensor<8xf32>
      %s = r1.scale_columns %a, %g : tensor<9x8xf32>, tensor<8xf32>
      %e = r1.encode %s : tensor<9x8xf32> -> tensor<9x8xf32, #r1.encoding<bf16, panel = 4, step = 2>>
      r1.yield %e : tensor<9x8xf32, #r1.encoding<bf16, panel = 4, step = 2>>
    }
    r1.derived @not_placed layers(3) : tensor<9x8xf32> {
      %a = r1.read @a : tensor<9x8xf32>
      r1.yield %a : tensor<9x8xf32>
    })");
  ASSERT_TRUE(module);
  check(*module, 128 + 2 * 320 + 192);
}

TEST_F(WeightWriterTest, LayersOfSeveralTensors) {
  const std::vector<std::string> names = {"a0", "a1", "a2", "b0", "b1", "b2"};
  for (StringRef name : names)
    add(name, "BF16", {5, 8});
  open();
  std::string stack = weight("a", "tensor<15x8xf32>", names, /*stacked=*/true);
  stack.replace(stack.find("layers(6)"), 9, "layers(2)");
  auto module = parse(stack + R"(
    r1.derived @w layers(2) : tensor<15x8xf32, #r1.encoding<f32, panel = 4, step = 1>>
        at #r1.placement<offset = 64, stride = 512> {
      %a = r1.read @a : tensor<15x8xf32>
      %e = r1.encode %a : tensor<15x8xf32> -> tensor<15x8xf32, #r1.encoding<f32, panel = 4, step = 1>>
      r1.yield %e : tensor<15x8xf32, #r1.encoding<f32, panel = 4, step = 1>>
    })");
  ASSERT_TRUE(module);
  check(*module, 64 + 2 * 512);
}

TEST_F(WeightWriterTest, ProgramsOverDerivedWeights) {
  add("a", "F32", {6, 5});
  open();
  // What an encoding rounds stays rounded for those that read it.
  auto module = parse(weight("a", "tensor<6x5xf32>", {"a"}) + R"(
    r1.derived @rounded : tensor<6x5xf32, #r1.encoding<bf16>> {
      %a = r1.read @a : tensor<6x5xf32>
      %e = r1.encode %a : tensor<6x5xf32> -> tensor<6x5xf32, #r1.encoding<bf16>>
      r1.yield %e : tensor<6x5xf32, #r1.encoding<bf16>>
    }
    r1.derived @turned : tensor<6x5xf32> {
      %a = r1.read @rounded : tensor<6x5xf32>
      %u = r1.unpermute %a head_dim 6 : tensor<6x5xf32>
      r1.yield %u : tensor<6x5xf32>
    }
    r1.derived @w : tensor<6x5xf32, #r1.encoding<f32>> at #r1.placement<offset = 0, stride = 0> {
      %a = r1.read @turned : tensor<6x5xf32>
      %e = r1.encode %a : tensor<6x5xf32> -> tensor<6x5xf32, #r1.encoding<f32>>
      r1.yield %e : tensor<6x5xf32, #r1.encoding<f32>>
    })");
  ASSERT_TRUE(module);
  check(*module, 120);
}

TEST_F(WeightWriterTest, ManyTiles) {
  // Tiles end within operands and within the halves of heads.
  add("a", "BF16", {1500, 133});
  add("q", "F32", {1848, 133});
  open();
  auto module = parse(weight("a", "tensor<1500x133xf32>", {"a"}) +
                      weight("q", "tensor<1848x133xf32>", {"q"}) + R"(
    r1.derived @w : tensor<4860x133xf32, #r1.encoding<bf16, panel = 16, step = 2>>
        at #r1.placement<offset = 0, stride = 0> {
      %a = r1.read @a : tensor<1500x133xf32>
      %q = r1.read @q : tensor<1848x133xf32>
      %u = r1.unpermute %q head_dim 154 : tensor<1848x133xf32>
      %b = r1.concat %a, %a block 251 : (tensor<1500x133xf32>, tensor<1500x133xf32>) -> tensor<3012x133xf32>
      %c = r1.concat %u, %b : (tensor<1848x133xf32>, tensor<3012x133xf32>) -> tensor<4860x133xf32>
      %e = r1.encode %c : tensor<4860x133xf32> -> tensor<4860x133xf32, #r1.encoding<bf16, panel = 16, step = 2>>
      r1.yield %e : tensor<4860x133xf32, #r1.encoding<bf16, panel = 16, step = 2>>
    })");
  ASSERT_TRUE(module);
  check(*module, 4864 * 134 * 2);
}

TEST_F(WeightWriterTest, BlocksOfQuantizedTensors) {
  std::string blocks;
  for (unsigned i = 0; i < 2 * 40; ++i) {
    blocks += u16Bytes(static_cast<uint16_t>(0x2000 + 37 * i)); // f16 scale
    for (unsigned j = 0; j < 32; ++j)
      blocks += static_cast<char>(29 * i + 13 * j);
  }
  const StringRef row(blocks);
  folder.write("model.gguf",
               smallGguf("qwen2")
                   .tensor("matrix.weight", {64, 40}, /*Q8_0=*/8, row)
                   .tensor("vector.weight", {2560}, /*Q8_0=*/8, row)
                   .build());
  openFile(folder.path("model.gguf"));
  // Heads of 10 rows cut the vector's blocks apart.
  auto module = parse(weight("m", "tensor<40x64xf32>", {"matrix.weight"}) +
                      weight("v", "tensor<2560xf32>", {"vector.weight"}) + R"(
    r1.derived @mw : tensor<40x64xf32, #r1.encoding<bf16, panel = 16, step = 2>>
        at #r1.placement<offset = 0, stride = 0> {
      %m = r1.read @m : tensor<40x64xf32>
      %e = r1.encode %m : tensor<40x64xf32> -> tensor<40x64xf32, #r1.encoding<bf16, panel = 16, step = 2>>
      r1.yield %e : tensor<40x64xf32, #r1.encoding<bf16, panel = 16, step = 2>>
    }
    r1.derived @vw : tensor<2560xf32, #r1.encoding<f32>> at #r1.placement<offset = 8192, stride = 0> {
      %v = r1.read @v : tensor<2560xf32>
      %u = r1.unpermute %v head_dim 10 : tensor<2560xf32>
      %e = r1.encode %u : tensor<2560xf32> -> tensor<2560xf32, #r1.encoding<f32>>
      r1.yield %e : tensor<2560xf32, #r1.encoding<f32>>
    })");
  ASSERT_TRUE(module);
  check(*module, 8192 + 4 * 2560);
}

TEST_F(WeightWriterTest, IdentityFollowsContentAndPlace) {
  add("a", "F32", {4, 4});
  add("b", "F32", {4, 4});
  open();
  const auto identity = [&](StringRef tensor, StringRef offset) {
    auto module = parse(
        weight("a", "tensor<4x4xf32>", {tensor.str()}) +
        R"(r1.derived @w : tensor<4x4xf32, #r1.encoding<f32>> at #r1.placement<offset = )" +
        offset.str() + R"(, stride = 0> {
          %a = r1.read @a : tensor<4x4xf32>
          %e = r1.encode %a : tensor<4x4xf32> -> tensor<4x4xf32, #r1.encoding<f32>>
          r1.yield %e : tensor<4x4xf32, #r1.encoding<f32>>
        })");
    return check(*module, 256);
  };
  EXPECT_EQ(identity("a", "0"), identity("a", "0"));
  EXPECT_NE(identity("a", "0"), identity("b", "0"));
  EXPECT_NE(identity("a", "0"), identity("a", "64"));
}

} // namespace
} // namespace sputnik::testing
