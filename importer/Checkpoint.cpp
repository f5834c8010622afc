//===- Checkpoint.cpp - A model on disk -----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Checkpoint.h"

#include "importer/Gguf.h"
#include "importer/GgufNames.h"
#include "importer/InputError.h"
#include "importer/Json.h"
#include "importer/SafeTensors.h"
#include "importer/ShardIndex.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace llvm;

namespace sputnik {
namespace {

constexpr int64_t maxParts = 10000;

Expected<json::Value> readJsonFile(StringRef path) {
  Expected<InputFile> file = InputFile::open(path, maxTextFileBytes);
  if (!file)
    return file.takeError();
  return parseJson(file->text(), path);
}

/// `NAME-00001-of-00009.gguf` without what follows NAME.
struct SplitName {
  StringRef prefix;
  int64_t number, count; ///< number counts from 1.
};

std::optional<SplitName> parseSplitName(StringRef path) {
  // -00001-of-00009.gguf
  constexpr size_t digits = 5, length = 1 + digits + 4 + digits + 5;
  if (path.size() < length)
    return std::nullopt;
  StringRef suffix = path.take_back(length);
  StringRef number = suffix.substr(1, digits);
  StringRef count = suffix.substr(1 + digits + 4, digits);
  if (suffix[0] != '-' || suffix.substr(1 + digits, 4) != "-of-" ||
      !suffix.ends_with(".gguf") || !all_of(number, isDigit) ||
      !all_of(count, isDigit))
    return std::nullopt;
  SplitName name;
  name.prefix = path.drop_back(length);
  number.getAsInteger(10, name.number);
  count.getAsInteger(10, name.count);
  return name;
}

std::string splitPath(StringRef prefix, int64_t number, int64_t count) {
  return formatv("{0}-{1,0+5}-of-{2,0+5}.gguf", prefix, number, count);
}

} // namespace

std::string Checkpoint::inFolder(StringRef name) const {
  SmallString<256> result(root);
  sys::path::append(result, name);
  return result.str().str();
}

std::string Checkpoint::existing(StringRef name) const {
  std::string file = inFolder(name);
  return sys::fs::exists(file) ? file : "";
}

Expected<Checkpoint> Checkpoint::open(StringRef path) {
  Checkpoint checkpoint;
  checkpoint.root = path.str();
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status))
    return inputError(path, "cannot open: " + code.message());
  Error error = sys::fs::is_directory(status)
                    ? checkpoint.readFolder(/*withTensors=*/true)
                    : checkpoint.readGguf();
  if (error)
    return error;
  return checkpoint;
}

Expected<Checkpoint> Checkpoint::openConfigOnly(StringRef path) {
  Checkpoint checkpoint;
  checkpoint.root = path.str();
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status))
    return inputError(path, "cannot open: " + code.message());
  if (!sys::fs::is_directory(status))
    return inputError(path, "is not a folder, expected one with config.json");
  if (Error error = checkpoint.readFolder(/*withTensors=*/false))
    return error;
  return checkpoint;
}

Error Checkpoint::readFolder(bool withTensors) {
  texts.tokenizerJson = existing("tokenizer.json");
  texts.tokenizerConfigJson = existing("tokenizer_config.json");
  texts.generationConfigJson = existing("generation_config.json");
  texts.chatTemplateJinja = existing("chat_template.jinja");
  if (Error error = readConfigs())
    return error;
  if (!withTensors)
    return Error::success();

  // Transformers prefers the single file, too.
  const std::string single = existing("model.safetensors");
  const std::string index = existing("model.safetensors.index.json");
  if (single.empty() && index.empty())
    return inputError(root, "has neither model.safetensors nor "
                            "model.safetensors.index.json");
  if (Error error = single.empty() ? readSharded(index) : readSingle(single))
    return error;
  return indexNames();
}

Error Checkpoint::readConfigs() {
  const std::string file = inFolder("config.json");
  Expected<json::Value> value = readJsonFile(file);
  if (!value)
    return value.takeError();
  Expected<ModelConfig> config = modelConfigFromJson(*value, file);
  if (!config)
    return config.takeError();
  model = std::move(*config);
  if (texts.generationConfigJson.empty())
    return Error::success();

  value = readJsonFile(texts.generationConfigJson);
  if (!value)
    return value.takeError();
  Expected<GenerationConfig> generation = generationConfigFromJson(
      *value, texts.generationConfigJson, model.vocabSize);
  if (!generation)
    return generation.takeError();
  sampling = std::move(*generation);
  if (sampling.bosId)
    model.bosId = sampling.bosId;
  if (!sampling.eosIds.empty())
    model.eosIds = sampling.eosIds;
  return Error::success();
}

Error Checkpoint::readSingle(StringRef file) {
  Expected<InputFile> input = InputFile::open(file);
  if (!input)
    return input.takeError();
  Expected<SafeTensorsFile> parsed =
      SafeTensorsFile::parse(input->bytes(), file);
  if (!parsed)
    return parsed.takeError();
  list = parsed->takeTensors();
  inputs.push_back(std::move(*input));
  return Error::success();
}

Error Checkpoint::readSharded(StringRef indexFile) {
  Expected<json::Value> value = readJsonFile(indexFile);
  if (!value)
    return value.takeError();
  Expected<ShardIndex> shards = parseShardIndex(*value, indexFile);
  if (!shards)
    return shards.takeError();
  for (const auto &[name, wanted] : *shards) {
    const std::string file = inFolder(name);
    Expected<InputFile> input = InputFile::open(file);
    if (!input)
      return input.takeError();
    Expected<SafeTensorsFile> parsed =
        SafeTensorsFile::parse(input->bytes(), file, inputs.size());
    if (!parsed)
      return parsed.takeError();
    // What the index does not name, transformers does not load.
    StringSet<> found;
    for (TensorRef &tensor : parsed->takeTensors())
      if (wanted.contains(tensor.name)) {
        found.insert(tensor.name);
        list.push_back(std::move(tensor));
      }
    for (StringRef tensor : wanted.keys())
      if (!found.contains(tensor))
        return inputError(indexFile, "tensor " + quoted(tensor) +
                                         " is not in " + quoted(name));
    inputs.push_back(std::move(*input));
  }
  return Error::success();
}

Error Checkpoint::readGguf() {
  Expected<InputFile> input = InputFile::open(root);
  if (!input)
    return input.takeError();
  if (!input->text().starts_with("GGUF"))
    return inputError(root, "is neither a folder with config.json nor a GGUF "
                            "file");
  Expected<GgufFile> first = GgufFile::parse(input->bytes(), root);
  if (!first)
    return first.takeError();
  inputs.push_back(std::move(*input));
  if (Error error = addParts(*first))
    return error;
  Expected<ModelConfig> config = modelConfigFromGguf(*first, list);
  if (!config)
    return config.takeError();
  model = std::move(*config);
  vocabulary.emplace();
  if (first->find("tokenizer.ggml.tokens")) {
    Expected<GgufTokenizer> tokenizer = readGgufTokenizer(*first);
    if (!tokenizer)
      return tokenizer.takeError();
    vocabulary = std::move(*tokenizer);
  }
  if (vocabulary->tokens.size() > static_cast<uint64_t>(model.vocabSize))
    return inputError(root, "has " + Twine(vocabulary->tokens.size()) +
                                " tokens, but its embedding has only " +
                                Twine(model.vocabSize) + " rows");
  markPermutedRows(model, list);
  if (Error error = indexNames())
    return error;
  return readRopeFreqs();
}

Error Checkpoint::addParts(GgufFile &first) {
  Expected<std::optional<int64_t>> number = first.integer("split.no");
  if (!number)
    return number.takeError();
  Expected<std::optional<int64_t>> count = first.integer("split.count");
  if (!count)
    return count.takeError();
  Expected<std::optional<int64_t>> total = first.integer("split.tensors.count");
  if (!total)
    return total.takeError();
  const int64_t parts = count->value_or(1);
  if (parts < 1 || parts > maxParts)
    return inputError(root, "key 'split.count' is " + Twine(parts) +
                                ", expected 1 to " + Twine(maxParts));
  if (number->value_or(0) != 0)
    return inputError(root, "is part " + Twine(**number + 1) + " of " +
                                Twine(parts) + ", expected the first part");
  addGgufTensors(first.takeTensors());

  std::optional<SplitName> name = parseSplitName(root);
  if (parts > 1 && (!name || name->number != 1 || name->count != parts))
    return inputError(root, "is the first of " + Twine(parts) +
                                " parts, expected a name that ends in " +
                                quoted(splitPath("", 1, parts)));
  for (int64_t i = 1; i < parts; ++i) {
    const std::string file = splitPath(name->prefix, i + 1, parts);
    Expected<InputFile> input = InputFile::open(file);
    if (!input)
      return input.takeError();
    Expected<GgufFile> next =
        GgufFile::parse(input->bytes(), file, inputs.size());
    if (!next)
      return next.takeError();
    const std::pair<StringRef, int64_t> expected[] = {{"split.no", i},
                                                      {"split.count", parts}};
    for (auto [key, wanted] : expected) {
      Expected<std::optional<int64_t>> value = next->integer(key);
      if (!value)
        return value.takeError();
      if (*value != wanted)
        return inputError(file, "key " + quoted(key) + " is " +
                                    (*value ? std::to_string(**value)
                                            : std::string("missing")) +
                                    ", expected " + Twine(wanted));
    }
    inputs.push_back(std::move(*input));
    addGgufTensors(next->takeTensors());
  }
  if (*total && **total != static_cast<int64_t>(list.size()))
    return inputError(root, "key 'split.tensors.count' is " + Twine(**total) +
                                ", but the parts have " + Twine(list.size()) +
                                " tensors");
  return Error::success();
}

void Checkpoint::addGgufTensors(std::vector<TensorRef> tensors) {
  for (TensorRef &tensor : tensors) {
    std::string name = huggingFaceName(tensor.name);
    if (name != tensor.name) {
      tensor.storedName = std::move(tensor.name);
      tensor.name = std::move(name);
    }
    list.push_back(std::move(tensor));
  }
}

Error Checkpoint::readRopeFreqs() {
  const TensorRef *tensor = find(ropeFreqsName);
  if (!tensor)
    return Error::success();
  StringRef file = inputs[tensor->file].path();
  const int64_t pairs = model.headDim / 2;
  if (tensor->type != TensorType::F32 ||
      ArrayRef(tensor->shape) != ArrayRef<int64_t>{pairs})
    return inputError(file, "tensor " + quoted(ropeFreqsName) + " is " +
                                sputnik::name(tensor->type) + " " +
                                shapeText(tensor->shape) + ", expected F32 [" +
                                Twine(pairs) + "]");
  if (model.rope.kind != RopeConfig::Kind::None)
    return inputError(file, "has tensor " + quoted(ropeFreqsName) +
                                " and also a RoPE scaling in its metadata");
  std::vector<float> divisors(pairs);
  dequantize(tensor->type, data(*tensor).data(), divisors.data(), pairs);
  for (float divisor : divisors)
    if (!(divisor > 0) || std::isinf(divisor))
      return inputError(file, "tensor " + quoted(ropeFreqsName) +
                                  " has a value that is not positive and "
                                  "finite");
  model.rope.divisors = std::move(divisors);
  return Error::success();
}

Error Checkpoint::indexNames() {
  for (unsigned i = 0; i < list.size(); ++i)
    if (!byName.try_emplace(list[i].name, i).second)
      return inputError(inputs[list[i].file].path(),
                        "tensor " + quoted(list[i].name) +
                            " occurs a second time");
  return Error::success();
}

const TensorRef *Checkpoint::find(StringRef name) const {
  auto it = byName.find(name);
  return it == byName.end() ? nullptr : &list[it->second];
}

Expected<const TensorRef *> Checkpoint::tensor(StringRef name,
                                               ArrayRef<int64_t> shape) const {
  const TensorRef *tensor = find(name);
  if (!tensor)
    return inputError(root, "has no tensor " + quoted(name) + ", expected " +
                                shapeText(shape));
  std::string what = "tensor " + quoted(name);
  if (!tensor->storedName.empty())
    what += " (stored as " + quoted(tensor->storedName) + ")";
  StringRef file = inputs[tensor->file].path();
  if (ArrayRef(tensor->shape) != shape)
    return inputError(file, what + " has the shape " +
                                shapeText(tensor->shape) + ", expected " +
                                shapeText(shape));
  if (!holdsWeights(tensor->type))
    return inputError(file, what + " has the type " +
                                sputnik::name(tensor->type) +
                                ", expected a floating-point or block type");
  return tensor;
}

} // namespace sputnik
