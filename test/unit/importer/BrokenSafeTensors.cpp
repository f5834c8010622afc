//===- BrokenSafeTensors.cpp - Safetensors files that must be refused -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/SafeTensors.h"

#include "Failure.h"
#include "FileWriters.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace sputnik::testing {
namespace {

Expected<SafeTensorsFile> parse(StringRef bytes) {
  return SafeTensorsFile::parse(arrayRefFromStringRef(bytes), "x");
}

/// A file of one tensor `t` with this description and `bytes` of data.
std::string one(StringRef description, size_t bytes) {
  return safeTensorsFile(("{\"t\":" + description + "}").str(),
                         std::string(bytes, 'd'));
}

struct Broken {
  const char *name;
  std::string file;
  const char *expected;
};

const Broken cases[] = {
    {"empty file", "", "has 0 bytes"},
    {"seven bytes", "1234567", "has 7 bytes"},
    {"header longer than the limit", u64Bytes(100'000'001) + "{}",
     "expected at most 100000000"},
    {"header length of 2^64-1", u64Bytes(~uint64_t(0)) + "{}",
     "expected at most 100000000"},
    {"header longer than the file", u64Bytes(3) + "{}",
     "the header has 3 bytes, but the file has only 2"},
    {"no header", u64Bytes(0), "does not begin with '{'"},
    {"header is an array", safeTensorsFile("[]", ""),
     "does not begin with '{'"},
    {"header begins with a space", safeTensorsFile(" {}", ""),
     "does not begin with '{'"},
    {"header is not UTF-8", safeTensorsFile("{\"\xff\":0}", ""),
     "is not valid UTF-8"},
    {"header is not JSON", safeTensorsFile("{\"t\":}", ""), "not valid JSON"},
    {"header is nested deeply",
     safeTensorsFile("{\"t\":" + std::string(1000, '['), ""),
     "nested deeper than 64"},
    {"tensor twice",
     safeTensorsFile(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                     R"("t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                     "12"),
     "the key 't' occurs twice"},
    {"member twice",
     one(R"({"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]})", 1),
     "the key 'dtype' occurs twice"},
    {"tensor is a number", one("3", 0), "tensor 't' is not an object"},
    {"no dtype", one(R"({"shape":[1],"data_offsets":[0,1]})", 1),
     "tensor 't' has no 'dtype'"},
    {"dtype is a number",
     one(R"({"dtype":3,"shape":[1],"data_offsets":[0,1]})", 1),
     "tensor 't' has no 'dtype'"},
    {"unknown dtype",
     one(R"({"dtype":"F31","shape":[1],"data_offsets":[0,1]})", 1),
     "unknown dtype 'F31'"},
    {"dtype of GGUF",
     one(R"({"dtype":"Q4_0","shape":[32],"data_offsets":[0,18]})", 18),
     "unknown dtype 'Q4_0'"},
    {"no shape", one(R"({"dtype":"U8","data_offsets":[0,1]})", 1),
     "tensor 't' has no 'shape'"},
    {"shape is a number",
     one(R"({"dtype":"U8","shape":1,"data_offsets":[0,1]})", 1),
     "tensor 't' has no 'shape'"},
    {"negative dimension",
     one(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,1]})", 1),
     "a dimension that is not a whole number"},
    {"fractional dimension",
     one(R"({"dtype":"U8","shape":[1.5],"data_offsets":[0,1]})", 1),
     "a dimension that is not a whole number"},
    {"dimension as a string",
     one(R"({"dtype":"U8","shape":["1"],"data_offsets":[0,1]})", 1),
     "a dimension that is not a whole number"},
    {"dimension of 2^64",
     one(R"({"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]})",
         1),
     "a dimension that is not a whole number"},
    {"nine dimensions",
     one(R"({"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]})",
         1),
     "has 9 dimensions"},
    {"sizes that wrap to the right one",
     one(R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]})",
         0),
     "whose size overflows"},
    {"bytes that wrap to the right ones",
     one(R"({"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]})",
         0),
     "whose size overflows"},
    {"no offsets", one(R"({"dtype":"U8","shape":[1]})", 1),
     "has no 'data_offsets'"},
    {"one offset", one(R"({"dtype":"U8","shape":[1],"data_offsets":[0]})", 1),
     "has no 'data_offsets' array of two numbers"},
    {"three offsets",
     one(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1,2]})", 1),
     "has no 'data_offsets' array of two numbers"},
    {"negative offset",
     one(R"({"dtype":"U8","shape":[2],"data_offsets":[-1,1]})", 1),
     "offset that is not a whole number"},
    {"end before begin",
     one(R"({"dtype":"U8","shape":[1],"data_offsets":[1,0]})", 1),
     "ends at 0, before its begin at 1"},
    {"fewer bytes than the shape needs",
     one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4),
     "has 4 bytes, expected 8 for F32 [2]"},
    {"more bytes than the shape needs",
     one(R"({"dtype":"F16","shape":[2],"data_offsets":[0,8]})", 8),
     "has 8 bytes, expected 4"},
    {"first tensor not at 0",
     one(R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})", 2),
     "begins at 1, expected 0"},
    {"hole between tensors",
     safeTensorsFile(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                     R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                     "123"),
     "tensor 'b' begins at 2, expected 1"},
    {"overlapping tensors",
     safeTensorsFile(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                     "123"),
     "tensor 'b' begins at 1, expected 2"},
    {"two tensors in one place",
     safeTensorsFile(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                     "12"),
     "tensor 'b' begins at 0, expected 2"},
    {"file cut short",
     one(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})", 3),
     "ends at 4, but the file has only 3 bytes of data"},
    {"bytes after the last tensor",
     one(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})", 5),
     "has 5 bytes of data, expected 4"},
    {"data without tensors", safeTensorsFile("{}", "1"),
     "has 1 bytes of data, expected 0"},
    {"metadata is a list", safeTensorsFile("{\"__metadata__\":[]}", ""),
     "'__metadata__' is not an object of strings"},
    {"metadata holds a number",
     safeTensorsFile("{\"__metadata__\":{\"a\":1}}", ""),
     "'__metadata__' is not an object of strings"},
    {"a name that acts on the terminal",
     safeTensorsFile("{\"\\u001b[2J\\n\":3}", ""),
     "tensor '\\x1b[2J\\x0a' is not an object"},
};

TEST(BrokenSafeTensors, EachHasItsError) {
  for (const Broken &broken : cases) {
    SCOPED_TRACE(broken.name);
    expectFailure(parse(broken.file), "x", broken.expected);
  }
}

TEST(BrokenSafeTensors, CutAnywhere) {
  const std::string file = safeTensorsOfZeros(smallTensors("qwen2"));
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(failure(parse(StringRef(file).take_front(size))), "") << size;
}

TEST(BrokenSafeTensors, AnyByteChanged) {
  std::string file =
      safeTensorsOfZeros({{"b", "F32", {2, 3}, 24}, {"a", "BF16", {5}, 10}});
  for (size_t at = 0; at < file.size() - 34; ++at) {
    const char original = file[at];
    for (int value = 0; value < 256; ++value) {
      file[at] = static_cast<char>(value);
      if (Expected<SafeTensorsFile> parsed = parse(file)) {
        for (const TensorRef &tensor : parsed->tensors())
          ASSERT_LE(tensor.offset + tensor.bytes, file.size());
      } else {
        consumeError(parsed.takeError());
      }
    }
    file[at] = original;
  }
}

} // namespace
} // namespace sputnik::testing
