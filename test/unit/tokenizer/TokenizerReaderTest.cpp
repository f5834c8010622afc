//===- TokenizerReaderTest.cpp - tokenizer.json, good and bad -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "importer/TokenizerBlobWriter.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <functional>

using namespace sputnik;
using namespace sputnik::test;
using testing::HasSubstr;

namespace {

TokenizerRecipe goodRecipe() {
  TokenizerRecipe recipe;
  recipe.merges = {{"a", "b"}, {"ab", "c"}};
  recipe.added = r1Markers();
  recipe.config = r1Config;
  return recipe;
}

std::string errorOfText(const std::string &json) {
  TokenizerTexts files;
  files.tokenizer = {"dir/tokenizer.json", json};
  const std::string error = errorOf(readTokenizerTexts(files));
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  return error;
}

/// The good tokenizer.json with one part of it replaced.
std::string with(const std::string &part, const std::string &replacement) {
  std::string json = goodRecipe().json();
  const size_t at = json.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return json.replace(at, part.size(), replacement);
}

struct BadCase {
  const char *part, *replacement, *error;
};

/// What is wrong, and what the message says of it.
const BadCase badCases[] = {
    {R"("ab": 256)", R"("ab": -1)", "the token 'ab' has id -1, expected 0 to"},
    {R"("ab": 256)", R"("ab": 4294967296)", "'ab' has id 4294967296"},
    {R"("ab": 256)", R"("ab": 9223372036854775807)", "'ab' has id"},
    {R"("ab": 256)", R"("ab": 1e300)", "the id of 'ab' is not an integer"},
    {R"("ab": 256)", R"("ab": 1.5)", "the id of 'ab' is not an integer"},
    {R"("ab": 256)", R"("ab": "256")", "the id of 'ab' is not an integer"},
    {R"("ab": 256)", R"("ab": 255)", "id 255 belongs to two tokens"},
    {R"("ab": 256)", R"("ab": 256, "ab": 300)", "twice"},
    {R"("a": 97, )", "", "'a' is not in the vocabulary"},
    {R"("z": 122, )", "", "no token for the byte 0x7a"},
    {R"("a b")", R"("a x")", "its result 'ax' is not in the vocabulary"},
    {R"("a b")", R"("<0x-1> b")", "'<0x-1>' is not in the vocabulary"},
    {R"("a b")", R"("ab")", "expected two tokens with one space"},
    {R"("a b")", R"("a b c")", "expected two tokens with one space"},
    {R"("a b")", R"(["a"])", "model.merges[0] is neither"},
    {R"("a b")", R"(["a", 7])", "model.merges[0] is neither"},
    {R"("a b")", R"("a b", "a b")", "repeats merge 0"},
    {R"("a b")", "17", "model.merges[0] is neither"},
    {R"({"id": 258,)", R"({"id": -7,)", "has id -7, expected 0 to"},
    {R"({"id": 258,)", R"({"id": 97,)", "id 97 belongs to two tokens"},
    {R"({"id": 258,)", R"({"id": 99999999999,)", "has id 99999999999"},
    {R"({"id": 258,)", R"({"id": null,)", "added_tokens[0].id is missing"},
    {R"("content": "<think>")", R"("content": "")", "is empty"},
    {R"("content": "<think>")", R"("content": "<｜User｜>")", "occurs twice"},
    {R"("content": "<think>")", R"("content": 3)",
     "added_tokens[4].content is missing or not a string"},
    {R"("content": "<think>")", R"("content": "ab")",
     "has id 262, but id 256 in the vocabulary"},
    {R"("content": "<think>")", R"("lstrip": true, "content": "<think>")",
     "added_tokens[4].lstrip of '<think>' is true, expected false"},
    {R"("added_tokens": [)", R"("added_tokens": [5, )",
     "added_tokens[0] is not an object"},
    {R"("type": "BPE")", R"("type": "Unigram")",
     "model.type is 'Unigram', expected 'BPE'"},
    {R"("type": "BPE")", R"("type": "BPE", "dropout": 0.5)",
     "model.dropout is set"},
    {R"("type": "BPE")", R"("type": "BPE", "byte_fallback": true)",
     "model.byte_fallback is set"},
    {R"("type": "BPE")", R"("type": "BPE", "end_of_word_suffix": "</w>")",
     "model.end_of_word_suffix is set"},
    {R"("vocab": {)", R"("vocab": [], "x": {)", "model.vocab is missing"},
    {R"("merges": [)", R"("merges": {}, "x": [)", "model.merges is missing"},
    {R"("model": {)", R"("x": {)", "'model' is missing"},
    {R"("normalizer": null)", R"("normalizer": {"type": "NFKC"})",
     "normalizer.type is 'NFKC', expected 'NFC'"},
    {R"(|\\p{N}|)", R"(|\\p{N}{1,2}|)",
     "expected those of Qwen2, Llama 3 or DeepSeek-V3"},
    {R"("behavior": "Isolated")", R"("behavior": "Removed")",
     "does not isolate"},
    {R"("invert": false)", R"("invert": true)", "does not isolate"},
    {R"("use_regex": false)", R"("use_regex": true)", "use_regex is true"},
    {R"({"type": "Split")", R"({"type": "Digits")",
     "pretokenizers[0].type is 'Digits'"},
    {R"("decoder": {"type": "ByteLevel"})", R"("decoder": {"type": "Fuse"})",
     "decoder.type is 'Fuse'"},
};

TEST(TokenizerReader, GoodOneIsRead) {
  EXPECT_EQ(errorOfText(goodRecipe().json()), "");
}

TEST(TokenizerReader, BadOnesGetOneLine) {
  for (const BadCase &bad : badCases) {
    const std::string error = errorOfText(with(bad.part, bad.replacement));
    EXPECT_THAT(error, HasSubstr(bad.error));
    EXPECT_THAT(error, HasSubstr("dir/tokenizer.json: "));
  }
}

TEST(TokenizerReader, TextThatIsNoTokenizer) {
  for (const char *text :
       {"", "[", "null", "[]", "{}", "\xff", "{\"model\": 1}"})
    EXPECT_NE(errorOfText(text), "");
  EXPECT_THAT(errorOfText(std::string(100'000, '[')), HasSubstr("nested"));
  EXPECT_THAT(errorOfText("{\"model\": " + std::string(100'000, '[')),
              HasSubstr("nested"));
}

TEST(TokenizerReader, AMergeMayNotMakeAControlToken) {
  // Else a user could write one.
  std::string json = with(R"("ab": 256)", R"("ab": 256, "<x": 300)");
  json.replace(json.find(R"("a b")"), 5, R"("a b", "< x")");
  EXPECT_EQ(errorOfText(json), "");
  json.replace(json.find(R"("added_tokens": [)"), 17,
               R"("added_tokens": [{"id": 300, "content": "<x"}, )");
  EXPECT_THAT(errorOfText(json), HasSubstr("no text that merging may make"));
}

TEST(TokenizerReader, LongAddedTokensAreRefused) {
  TokenizerRecipe recipe = goodRecipe();
  recipe.added.push_back({std::string(300, 'x')});
  EXPECT_THAT(errorOf(recipe.read()), HasSubstr("has 300 bytes, expected at"));
}

TEST(TokenizerReader, MergesAsPairs) {
  TokenizerTexts files;
  const std::string json = with(R"("a b")", R"(["a", "b"])");
  files.tokenizer = {"tokenizer.json", json};
  const LoadedTokenizer tokenizer(readTokenizerTexts(files));
  EXPECT_EQ(tokenizer->encode("abc"), std::vector<int32_t>{257});
}

TEST(TokenizerReader, SpecialTokensComeFromTheConfigurations) {
  TokenizerRecipe recipe = goodRecipe();
  recipe.generationConfig =
      R"({"bos_token_id": 5, "eos_token_id": [261, 258]})";
  const LoadedTokenizer tokenizer(recipe);
  EXPECT_EQ(tokenizer->bosId(), 261);
  ASSERT_EQ(tokenizer->eosIds().size(), 2u);
  EXPECT_EQ(tokenizer->eosIds()[0], 258);
  EXPECT_EQ(tokenizer->eosIds()[1], 261);

  recipe.config = "";
  const LoadedTokenizer other(recipe);
  EXPECT_EQ(other->bosId(), 5);
  EXPECT_FALSE(other->addsBos());
  EXPECT_EQ(other->eosIds()[0], 261);
}

TEST(TokenizerReader, BadConfigurationsGetOneLine) {
  TokenizerRecipe recipe = goodRecipe();
  recipe.config = R"({"bos_token": "<nobody>"})";
  EXPECT_EQ(errorOf(recipe.read()),
            "tokenizer_config.json: bos_token is '<nobody>', which is no token "
            "of the vocabulary");
  recipe.config = "[]";
  EXPECT_THAT(errorOf(recipe.read()), HasSubstr("tokenizer_config.json: "));
  recipe.config = r1Config;
  recipe.generationConfig = R"({"eos_token_id": -1})";
  EXPECT_THAT(errorOf(recipe.read()), HasSubstr("eos_token_id is -1"));
  recipe.generationConfig = R"({"eos_token_id": "x"})";
  EXPECT_THAT(errorOf(recipe.read()),
              HasSubstr("eos_token_id is not an integer"));
}

TEST(TokenizerReader, ThePostProcessorCanAskForBos) {
  TokenizerRecipe recipe = goodRecipe();
  recipe.config = "";
  std::string json = recipe.json();
  json.insert(1, R"("post_processor": {"type": "Sequence", "processors": [
      {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<｜begin▁of▁sentence｜>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}]}]}, )");
  TokenizerTexts files;
  files.tokenizer = {"tokenizer.json", json};
  const LoadedTokenizer tokenizer(readTokenizerTexts(files));
  EXPECT_TRUE(tokenizer->addsBos());
  EXPECT_EQ(tokenizer->bosId(), 261);
  const std::string config = R"({"add_bos_token": false})";
  files.config = {"tokenizer_config.json", config};
  EXPECT_FALSE(LoadedTokenizer(readTokenizerTexts(files))->addsBos());
}

TEST(TokenizerReader, IdsMustFitTheModel) {
  llvm::Expected<TokenizerSpec> spec = goodRecipe().read();
  ASSERT_TRUE(static_cast<bool>(spec));
  EXPECT_FALSE(
      static_cast<bool>(checkTokenizerFits(*spec, 264, "tokenizer.json")));
  EXPECT_EQ(llvm::toString(checkTokenizerFits(*spec, 263, "tokenizer.json")),
            "tokenizer.json: the largest token id is 263, but the model has "
            "only 263 rows of embeddings");
}

TEST(TokenizerReader, Folders) {
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tokenizer", folder));
  EXPECT_THAT(errorOf(readTokenizerFolder(folder)),
              HasSubstr("tokenizer.json: "));
  const auto write = [&](const char *name, const std::string &text) {
    std::error_code error;
    llvm::raw_fd_ostream((folder + "/" + name).str(), error) << text;
    EXPECT_FALSE(error);
  };
  write("tokenizer.json", goodRecipe().json());
  write("tokenizer_config.json", r1Config);
  write("chat_template.jinja", "{{ 'x' }}");
  llvm::Expected<TokenizerSpec> spec = readTokenizerFolder(folder);
  ASSERT_TRUE(static_cast<bool>(spec)) << llvm::toString(spec.takeError());
  EXPECT_EQ(spec->bosId, 261u);
  EXPECT_THAT(spec->chatNote, HasSubstr("another way"));
  llvm::sys::fs::remove_directories(folder);
}

TEST(TokenizerReader, SameInputSameBytes) {
  llvm::Expected<TokenizerSpec> one = goodRecipe().read(),
                                two = goodRecipe().read();
  ASSERT_TRUE(static_cast<bool>(one));
  ASSERT_TRUE(static_cast<bool>(two));
  auto first = writeTokenizerBlob(*one), second = writeTokenizerBlob(*two);
  ASSERT_TRUE(static_cast<bool>(first));
  ASSERT_TRUE(static_cast<bool>(second));
  EXPECT_EQ(*first, *second);
}

//===--- GGUF -------------------------------------------------------------===//

/// A vocabulary as a GGUF file has it; the texts live as long as the object.
struct GgufRecipe {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
  std::string model = "gpt2", pre = "qwen2";
  std::optional<int64_t> bos, eos;

  GgufRecipe() {
    for (int byte = 0; byte < 256; ++byte)
      add(byteCharacter(byte), 1);
    add("ab", 1);
    merges = {"a b"};
    for (const TokenizerRecipe::Added &token : r1Markers())
      add(token.content,
          token.content[1] == 't' || token.content[1] == '/' ? 4 : 3);
    eos = 257;
    bos = 260;
  }

  void add(const std::string &text, int32_t type) {
    tokens.push_back(text);
    types.push_back(type);
  }

  llvm::Expected<TokenizerSpec> read() const {
    GgufTokenizer in;
    in.model = model;
    in.pre = pre;
    in.tokens.assign(tokens.begin(), tokens.end());
    in.types = types;
    in.merges.assign(merges.begin(), merges.end());
    in.bos = bos;
    in.eos = eos;
    in.addBos = true;
    return readTokenizerGguf(in, "model.gguf");
  }
};

TEST(TokenizerGguf, IsRead) {
  GgufRecipe recipe;
  recipe.add("[PAD263]", 5);
  recipe.add("[PAD264]", 4);
  const LoadedTokenizer t(recipe.read());
  EXPECT_EQ(t->encode("ab<think>"), (std::vector<int32_t>{256, 261}));
  EXPECT_EQ(t->encode("[PAD264]", {}).size(), 8u);
  EXPECT_TRUE(t->isSpecial(258));
  EXPECT_FALSE(t->isSpecial(261));
  EXPECT_FALSE(t->hasToken(263));
  EXPECT_TRUE(t->addsBos());
  EXPECT_EQ(t->decode(t->encode("e\u0301")), "\u00e9");
}

TEST(TokenizerGguf, BadOnesGetOneLine) {
  const auto error = [](const std::function<void(GgufRecipe &)> &change) {
    GgufRecipe recipe;
    change(recipe);
    const std::string text = errorOf(recipe.read());
    EXPECT_THAT(text, HasSubstr("model.gguf: "));
    EXPECT_EQ(text.find('\n'), std::string::npos);
    return text;
  };
  EXPECT_THAT(error([](GgufRecipe &r) { r.model = "llama"; }),
              HasSubstr("tokenizer.ggml.model is 'llama', expected 'gpt2'"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.pre = "deepseek-llm"; }),
              HasSubstr("tokenizer.ggml.pre is 'deepseek-llm', expected"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.add("<0x-1>", 6); }),
              HasSubstr("token 263, '<0x-1>', has type 6"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.types.pop_back(); }),
              HasSubstr("token_type has 262 elements, expected 263"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.tokens[98] = "a"; }),
              HasSubstr("occurs twice"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.tokens[98] = "aa"; }),
              HasSubstr("'b' is not in the vocabulary"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.merges = {"a"}; }),
              HasSubstr("merge 0 is 'a'"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.bos = 99999; }),
              HasSubstr("bos_token_id is 99999"));
  EXPECT_THAT(error([](GgufRecipe &r) { r.eos = -1; }),
              HasSubstr("eos_token_id is -1"));
}

} // namespace
