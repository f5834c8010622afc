//===- BrokenGguf.cpp - GGUF files that must be refused -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Failure.h"
#include "FileWriters.h"

#include "importer/Gguf.h"
#include "importer/GgufTokenizer.h"

#include "llvm/ADT/StringExtras.h"

#include <functional>

using namespace llvm;

namespace sputnik::testing {
namespace {

Expected<GgufFile> parse(StringRef bytes) {
  return GgufFile::parse(arrayRefFromStringRef(bytes), "x");
}

struct Broken {
  const char *name;
  std::function<void(GgufWriter &)> breakIt;
  const char *expected;
};

const std::string fourFloats(16, 'f');

const Broken cases[] = {
    {"wrong magic", [](GgufWriter &w) { w.magic = "GGML"; },
     "does not begin with 'GGUF'"},
    {"version 1", [](GgufWriter &w) { w.version = 1; },
     "has GGUF version 1, expected 2 or 3"},
    {"version 4", [](GgufWriter &w) { w.version = 4; },
     "has GGUF version 4, expected 2 or 3"},
    {"big-endian", [](GgufWriter &w) { w.version = 0x03000000; },
     "(a big-endian file)"},
    {"2^63 keys", [](GgufWriter &w) { w.claimedKeys = uint64_t(1) << 63; },
     "claims 9223372036854775808 metadata keys, expected at most 65536"},
    {"2^60 tensors",
     [](GgufWriter &w) { w.claimedTensors = uint64_t(1) << 60; },
     "claims 1152921504606846976 tensors, expected at most 1048576"},
    {"more keys than bytes", [](GgufWriter &w) { w.claimedKeys = 60000; },
     "claims 60000 metadata keys, but only"},
    {"more tensors than bytes", [](GgufWriter &w) { w.claimedTensors = 60000; },
     "claims 60000 tensors, but only"},
    {"one key too many", [](GgufWriter &w) { w.claimedKeys = 2; },
     "metadata key 1"},
    {"one tensor too many",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats);
       w.claimedTensors = 2;
     },
     "the name of tensor 1"},
    {"empty key", [](GgufWriter &w) { w.u32("", 1); },
     "is not a word of ASCII characters"},
    {"key with a space", [](GgufWriter &w) { w.u32("a b", 1); },
     "is not a word of ASCII characters"},
    {"key not ASCII", [](GgufWriter &w) { w.u32("\xc3\xa4", 1); },
     "is not a word of ASCII characters"},
    {"key too long", [](GgufWriter &w) { w.u32(std::string(65536, 'k'), 1); },
     "expected at most 65535"},
    {"key twice", [](GgufWriter &w) { w.u32("a", 1).u32("a", 1); },
     "key 'a' occurs twice"},
    {"unknown value type", [](GgufWriter &w) { w.raw("a", 13, "12345678"); },
     "key 'a' has the unknown value type 13"},
    {"value type of 2^32-1",
     [](GgufWriter &w) { w.raw("a", 0xffffffff, "12345678"); },
     "key 'a' has the unknown value type 4294967295"},
    {"bool of 2", [](GgufWriter &w) { w.raw("a", GgufValue::Bool, "\2"); },
     "a bool that is neither 0 nor 1"},
    {"bool of 2 in an array",
     [](GgufWriter &w) { w.array("a", GgufValue::Bool, 2, "\1\2"); },
     "a bool that is neither 0 nor 1"},
    {"number cut", [](GgufWriter &w) { w.raw("a", GgufValue::U64, "1234567"); },
     "the file ends within the value of key 'a'"},
    {"string longer than the file",
     [](GgufWriter &w) {
       w.raw("a", GgufValue::String, u64Bytes(100) + "short");
     },
     "the value of key 'a' has 100 bytes, but only 5 remain"},
    {"string of 2^64-1",
     [](GgufWriter &w) {
       w.raw("a", GgufValue::String, u64Bytes(~uint64_t(0)) + "short");
     },
     "the value of key 'a' has 18446744073709551615 bytes, but only 5 remain"},
    {"string with NUL",
     [](GgufWriter &w) { w.text("a", StringRef("x\0y", 3)); },
     "holds a NUL byte"},
    {"string not UTF-8", [](GgufWriter &w) { w.text("a", "\xff"); },
     "is not valid UTF-8"},
    {"array of arrays",
     [](GgufWriter &w) {
       w.array("a", GgufValue::Array, 1,
               u32Bytes(GgufValue::U8) + u64Bytes(1) + "x");
     },
     "key 'a' is an array of arrays"},
    {"array of an unknown type",
     [](GgufWriter &w) { w.array("a", 99, 1, "12345678"); },
     "key 'a' has the unknown value type 99"},
    {"array with too many numbers",
     [](GgufWriter &w) { w.array("a", GgufValue::U32, 3, "12345678"); },
     "key 'a' claims 3 elements, but only 8 bytes remain"},
    {"array whose size wraps",
     [](GgufWriter &w) {
       w.array("a", GgufValue::U64, uint64_t(1) << 61, "12345678");
     },
     "key 'a' claims 2305843009213693952 elements"},
    {"array with too many strings",
     [](GgufWriter &w) {
       w.array("a", GgufValue::String, uint64_t(1) << 40, u64Bytes(0));
     },
     "key 'a' claims 1099511627776 elements"},
    {"array with a long string",
     [](GgufWriter &w) {
       w.array("a", GgufValue::String, 2, u64Bytes(0) + u64Bytes(9));
     },
     "element 1 of key 'a' has 9 bytes, but only 0 remain"},
    {"alignment 0", [](GgufWriter &w) { w.u32("general.alignment", 0); },
     "key 'general.alignment' is 0, expected a multiple of 8"},
    {"alignment 12", [](GgufWriter &w) { w.u32("general.alignment", 12); },
     "key 'general.alignment' is 12, expected a multiple of 8"},
    {"alignment 2^31",
     [](GgufWriter &w) { w.u32("general.alignment", 1u << 31); },
     "key 'general.alignment' is 2147483648, expected a multiple of 8"},
    {"alignment of 2^64-8",
     [](GgufWriter &w) {
       w.raw("general.alignment", GgufValue::U64, u64Bytes(~uint64_t(7)));
     },
     "key 'general.alignment' is of type u64, expected a multiple of 8"},
    {"alignment is a string",
     [](GgufWriter &w) { w.text("general.alignment", "32"); },
     "key 'general.alignment' is of type string, expected"},
    {"tensor name too long",
     [](GgufWriter &w) { w.tensor(std::string(65, 'n'), {4}, 0, fourFloats); },
     "has 65 bytes, expected at most 64"},
    {"tensor without a name",
     [](GgufWriter &w) { w.tensor("", {4}, 0, fourFloats); },
     "the name of tensor 0 is empty"},
    {"tensor twice",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats).tensor("a", {4}, 0, fourFloats);
     },
     "tensor 'a' occurs twice"},
    {"no dimensions", [](GgufWriter &w) { w.tensor("a", {}, 0, fourFloats); },
     "tensor 'a' has 0 dimensions, expected 1 to 4"},
    {"five dimensions",
     [](GgufWriter &w) { w.tensor("a", {1, 1, 1, 1, 4}, 0, fourFloats); },
     "tensor 'a' has 5 dimensions, expected 1 to 4"},
    {"dimension of 0",
     [](GgufWriter &w) { w.tensor("a", {4, 0}, 0, fourFloats); },
     "tensor 'a' has a dimension of 0"},
    {"dimension of 2^63",
     [](GgufWriter &w) { w.tensor("a", {uint64_t(1) << 63}, 0, fourFloats); },
     "tensor 'a' has a dimension of 9223372036854775808"},
    {"dimensions that wrap",
     [](GgufWriter &w) {
       w.tensor("a", {uint64_t(1) << 32, uint64_t(1) << 32}, 0, fourFloats);
     },
     "whose size overflows"},
    {"dimensions that wrap to the right size",
     [](GgufWriter &w) {
       w.tensor("a", {4, uint64_t(1) << 62, 4}, 0, fourFloats);
     },
     "whose size overflows"},
    {"bytes that wrap",
     [](GgufWriter &w) { w.tensor("a", {uint64_t(1) << 62}, 0, fourFloats); },
     "whose size overflows"},
    {"a removed type", [](GgufWriter &w) { w.tensor("a", {4}, 4, fourFloats); },
     "tensor 'a' has type 4, which is not supported"},
    {"a type we do not read",
     [](GgufWriter &w) { w.tensor("a", {256}, 16, std::string(66, 'q')); },
     "tensor 'a' has IQ2_XXS, which is not supported"},
    {"type of 2^32-1",
     [](GgufWriter &w) { w.tensor("a", {4}, 0xffffffff, fourFloats); },
     "tensor 'a' has type 4294967295, which is not supported"},
    {"rows that cut a block",
     [](GgufWriter &w) { w.tensor("a", {48, 2}, 8, std::string(102, 'q')); },
     "tensor 'a' has rows of 48 elements, expected a multiple of 32 for Q8_0"},
    {"offset not aligned",
     [](GgufWriter &w) { w.tensor("a", {4}, 0, fourFloats, 4); },
     "tensor 'a' begins at 4, expected a multiple of the alignment 32"},
    {"offset beyond the file",
     [](GgufWriter &w) { w.tensor("a", {4}, 0, fourFloats, 1 << 20); },
     "tensor 'a' has 16 bytes at 1048576, but the file has only 16"},
    {"offset that wraps",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats, ~uint64_t(0) - 31);
     },
     "tensor 'a' has 16 bytes at 18446744073709551584, but the file has only"},
    {"tensor longer than the file",
     [](GgufWriter &w) { w.tensor("a", {8}, 0, fourFloats); },
     "tensor 'a' has 32 bytes at 0, but the file has only 16"},
    {"file cut in the last tensor",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats);
       w.dropTail = 1;
     },
     "tensor 'a' has 16 bytes at 0, but the file has only 15"},
    {"file cut before the data",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats);
       w.dropTail = 17;
     },
     "but the file has only 0 bytes of data"},
    {"overlapping tensors",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats).tensor("b", {4}, 0, fourFloats, 0);
     },
     "the data has a hole or an overlap"},
    {"hole between tensors",
     [](GgufWriter &w) {
       w.tensor("a", {4}, 0, fourFloats)
           .tensor("b", {16}, 0, std::string(96, 'b'), 64);
     },
     "tensor 'b' begins at 64, expected 32: the data has a hole"},
};

TEST(BrokenGguf, EachHasItsError) {
  for (const Broken &broken : cases) {
    SCOPED_TRACE(broken.name);
    GgufWriter writer;
    writer.text("general.architecture", "llama");
    broken.breakIt(writer);
    expectFailure(parse(writer.build()), "x", broken.expected);
  }
}

TEST(BrokenGguf, CutAnywhere) {
  const std::string file = smallGguf("llama").build();
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(failure(parse(StringRef(file).take_front(size))), "") << size;
}

TEST(BrokenGguf, AnyByteChanged) {
  GgufWriter writer;
  writer.text("general.architecture", "llama")
      .strings("tokenizer.ggml.tokens", {"a", "bc"})
      .i32s("tokenizer.ggml.token_type", {1, 3})
      .tensor("a", {4}, 0, fourFloats);
  std::string file = writer.build();
  for (size_t at = 0; at < file.size() - 16; ++at) {
    const char original = file[at];
    for (int value = 0; value < 256; ++value) {
      file[at] = static_cast<char>(value);
      if (Expected<GgufFile> parsed = parse(file)) {
        for (const TensorRef &tensor : parsed->tensors())
          ASSERT_LE(tensor.offset + tensor.bytes, file.size());
        consumeError(readGgufTokenizer(*parsed).takeError());
      } else {
        consumeError(parsed.takeError());
      }
    }
    file[at] = original;
  }
}

TEST(BrokenGguf, Tokenizers) {
  const Broken tokenizers[] = {
      {"no tokens", [](GgufWriter &w) { w.drop("tokenizer.ggml.tokens"); },
       "key 'tokenizer.ggml.tokens' is missing, expected an array of strings"},
      {"tokens are numbers",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.tokens").i32s("tokenizer.ggml.tokens", {1});
       },
       "is an array of i32, expected an array of strings"},
      {"tokens are one string",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.tokens").text("tokenizer.ggml.tokens", "a");
       },
       "is of type string, expected an array of strings"},
      {"zero tokens",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.tokens").strings("tokenizer.ggml.tokens", {});
       },
       "has 0 elements, expected 1 to"},
      {"types are strings",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.token_type")
             .strings("tokenizer.ggml.token_type",
                      std::vector<std::string>(8, "1"));
       },
       "is an array of string, expected an array of 32-bit integers"},
      {"fewer types than tokens",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.token_type")
             .i32s("tokenizer.ggml.token_type", {1, 1});
       },
       "has 2 elements, expected 8, one for each token"},
      {"unknown token type",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.token_type")
             .i32s("tokenizer.ggml.token_type", {1, 1, 1, 1, -1, 1, 3, 3});
       },
       "has the token type -1, expected 1 to 6"},
      {"merges are numbers",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.merges").i32s("tokenizer.ggml.merges", {1});
       },
       "is an array of i32, expected an array of strings"},
      {"BOS beyond the tokens",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.bos_token_id")
             .u32("tokenizer.ggml.bos_token_id", 8);
       },
       "key 'tokenizer.ggml.bos_token_id' is 8, expected a token id from 0 to "
       "7"},
      {"EOS negative",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.eos_token_id")
             .raw("tokenizer.ggml.eos_token_id", GgufValue::I32, u32Bytes(~0u));
       },
       "key 'tokenizer.ggml.eos_token_id' is -1, expected a token id"},
      {"BOS is a string",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.bos_token_id")
             .text("tokenizer.ggml.bos_token_id", "6");
       },
       "key 'tokenizer.ggml.bos_token_id' is of type string, expected an "
       "integer"},
      {"add BOS is a number",
       [](GgufWriter &w) {
         w.drop("tokenizer.ggml.add_bos_token")
             .u32("tokenizer.ggml.add_bos_token", 1);
       },
       "key 'tokenizer.ggml.add_bos_token' is of type u32, expected a bool"},
      {"template is a number",
       [](GgufWriter &w) { w.u32("tokenizer.chat_template", 1); },
       "key 'tokenizer.chat_template' is of type u32, expected a string"},
  };
  for (const Broken &broken : tokenizers) {
    SCOPED_TRACE(broken.name);
    GgufWriter writer = smallGguf("llama");
    broken.breakIt(writer);
    const std::string bytes = writer.build();
    Expected<GgufFile> file = parse(bytes);
    EXPECT_VALUE(file);
    expectFailure(readGgufTokenizer(*file), "x", broken.expected);
  }
}

} // namespace
} // namespace sputnik::testing
