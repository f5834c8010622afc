//===- VectorsTest.cpp - Published test vectors ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "llvm/ADT/StringExtras.h"
#include "gtest/gtest.h"

using namespace sputnik;
using namespace sputnik::test;

namespace {

struct VectorFile {
  const char *vectors, *tokenizer;
};

class Vectors : public testing::TestWithParam<VectorFile> {};

TEST_P(Vectors, Match) {
  const auto folder = sharedData();
  if (!folder)
    GTEST_SKIP() << "the shared test data is absent";
  const std::string json = readGzip(
      *folder + "/tokenizers/" + GetParam().tokenizer + ".tokenizer.json.gz");
  TokenizerTexts files;
  files.tokenizer = {"tokenizer.json", json};
  const LoadedTokenizer tokenizer(readTokenizerTexts(files));
  const std::string base =
      *folder + "/tokenizer_vectors/ggml-vocab-" + GetParam().vectors + ".gguf";
  const std::string inputs = readGzip(base + ".inp"),
                    outputs = readGzip(base + ".out");
  llvm::SmallVector<llvm::StringRef, 64> texts, lines;
  llvm::StringRef(inputs).split(texts, "\n__ggml_vocab_test__\n");
  llvm::StringRef(outputs).split(lines, '\n');
  texts.pop_back();
  lines.pop_back();
  ASSERT_EQ(texts.size(), lines.size());
  ASSERT_GE(texts.size(), 46u);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<int32_t> expected;
    llvm::SmallVector<llvm::StringRef, 64> numbers;
    lines[i].split(numbers, ' ', -1, /*KeepEmpty=*/false);
    for (llvm::StringRef number : numbers) {
      int32_t id = 0;
      ASSERT_FALSE(number.getAsInteger(10, id));
      expected.push_back(id);
    }
    const std::string text = texts[i].str();
    EXPECT_EQ(tokenizer->encode(text), expected) << text;
    EXPECT_EQ(tokenizer->decode(expected), text);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Vectors,
    testing::Values(
        VectorFile{"qwen2", "DeepSeek-R1-Distill-Qwen.reconstructed"},
        VectorFile{"deepseek-r1-qwen",
                   "DeepSeek-R1-Distill-Qwen.reconstructed"},
        VectorFile{"llama-bpe", "DeepSeek-R1-Distill-Llama.reconstructed"},
        VectorFile{"deepseek-v3", "DeepSeek-R1.reconstructed"}));

struct Special {
  const char *tokenizer;
  int32_t bos, eos, user, assistant, think;
};

class SpecialTokens : public testing::TestWithParam<Special> {};

TEST_P(SpecialTokens, AreWhereTheModelsHaveThem) {
  const auto folder = sharedData();
  if (!folder)
    GTEST_SKIP() << "the shared test data is absent";
  const Special &expected = GetParam();
  const std::string json =
      readGzip(*folder + "/tokenizers/" + expected.tokenizer +
               ".reconstructed.tokenizer.json.gz");
  TokenizerTexts files;
  files.tokenizer = {"tokenizer.json", json};
  const LoadedTokenizer tokenizer(readTokenizerTexts(files));
  EXPECT_EQ(tokenizer->bosId(), expected.bos);
  EXPECT_TRUE(tokenizer->addsBos());
  ASSERT_EQ(tokenizer->eosIds().size(), 1u);
  EXPECT_EQ(tokenizer->eosIds()[0], expected.eos);
  EXPECT_EQ(tokenizer->encode("<｜User｜>a<｜Assistant｜><think>\n"),
            (std::vector<int32_t>{expected.user, tokenizer->encode("a")[0],
                                  expected.assistant, expected.think,
                                  tokenizer->encode("\n")[0]}));
  EXPECT_FALSE(tokenizer->isSpecial(expected.think));
  EXPECT_TRUE(tokenizer->isSpecial(expected.bos));
  EXPECT_TRUE(tokenizer->isEos(expected.eos));
}

INSTANTIATE_TEST_SUITE_P(
    All, SpecialTokens,
    testing::Values(Special{"DeepSeek-R1-Distill-Qwen", 151646, 151643, 151644,
                            151645, 151648},
                    Special{"DeepSeek-R1-Distill-Llama", 128000, 128001, 128011,
                            128012, 128013},
                    Special{"DeepSeek-R1", 0, 1, 128803, 128804, 128798}));

} // namespace
