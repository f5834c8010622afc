//===- Inspect.cpp - What a model is --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/Inspect.h"

#include "importer/Checkpoint.h"
#include "importer/Graph.h"
#include "importer/TokenizerReader.h"
#include "passes/Passes.h"
#include "tools/ModelParts.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <array>

using namespace llvm;
using namespace sputnik;

namespace {

/// What is said of the tensors of one stored type.
struct TypeTotal {
  uint64_t tensors = 0, bytes = 0;
};

/// What compiling to one scheme comes to, without what panels and other forms
/// of a few weights add.
struct Cost {
  r1::Scheme scheme;
  int64_t kvBytesPerToken = 0;
  SmallVector<ModelPart> parts = {};

  int64_t weightBytes() const {
    int64_t bytes = 0;
    for (const ModelPart &part : parts)
      bytes += part.bytes;
    return bytes;
  }
  int64_t weightBytesPerToken() const {
    int64_t bytes = 0;
    for (const ModelPart &part : parts)
      bytes += part.bytesPerToken;
    return bytes;
  }
};

/// The tokenizer, if there is one, or why it cannot be used.
struct TokenizerReport {
  bool present = false;
  std::string problem;
  uint32_t vocabulary = 0;
  size_t added = 0;
  std::string preTokenizer;
};

struct Report {
  std::string path, format;
  const Checkpoint *checkpoint;
  std::array<TypeTotal, numTensorTypes> types{};
  TypeTotal all;
  /// 0 if nothing tells it.
  int64_t parameters = 0;
  /// Parameters that each generated token reads; 0 if the model cannot be
  /// compiled.
  int64_t streamed = 0;
  /// Why the model cannot be compiled.
  std::string problem;
  Cost costs[5] = {{r1::Scheme::F32},
                   {r1::Scheme::BF16},
                   {r1::Scheme::Q8},
                   {r1::Scheme::FP8},
                   {r1::Scheme::Q4}};
  /// Bytes of a position in a cache of q8; 0 where there is no such cache.
  int64_t quantizedKvBytes = 0;
  TokenizerReport tokenizer;
  std::optional<int64_t> bos;
  SmallVector<int64_t, 4> eos;

  const ModelConfig &config() const { return checkpoint->config(); }
  /// That of the scheme that is nearest to how matrices are stored.
  const Cost &ownCost() const {
    return *find_if(costs, [&](const Cost &cost) {
      return cost.scheme ==
             (config().float8 ? r1::Scheme::FP8 : r1::Scheme::BF16);
    });
  }
};

} // namespace

/// A folder may hold no weights, for `--weights=random`.
static Expected<Checkpoint> openModel(StringRef path) {
  const auto has = [&](StringRef name) {
    SmallString<256> file(path);
    sys::path::append(file, name);
    return sys::fs::exists(file);
  };
  if (sys::fs::is_directory(path) && !has("model.safetensors") &&
      !has("model.safetensors.index.json"))
    return Checkpoint::openConfigOnly(path);
  return Checkpoint::open(path);
}

static void readTensors(Report &report) {
  for (const TensorRef &tensor : report.checkpoint->tensors()) {
    for (TypeTotal *total :
         {&report.types[static_cast<unsigned>(tensor.type)], &report.all}) {
      ++total->tensors;
      total->bytes += tensor.bytes;
    }
    // Unless a graph knows better. Scales of blocks are not parameters.
    if (holdsWeights(tensor.type) &&
        !StringRef(tensor.name).ends_with("_scale_inv"))
      report.parameters +=
          tensor.bytes / blockBytes(tensor.type) * blockElements(tensor.type);
  }
}

static int64_t quantizedKvBytes(mlir::func::FuncOp forward) {
  mlir::Builder builder(forward.getContext());
  int64_t bytes = 0;
  for (mlir::Type type : forward.getArgumentTypes())
    if (auto cache = dyn_cast<r1::KVCacheType>(type)) {
      if (!r1::KVCacheType::canQuantize(cache.getDim(), cache.getLatent()))
        return 0;
      bytes += r1::KVCacheType::get(forward.getContext(), cache.getLayers(),
                                    cache.getHeads(), cache.getDim(),
                                    builder.getI8Type(), cache.getPositions(),
                                    /*latent=*/0)
                   .getTokenBytes();
    }
  return bytes;
}

static void readGraph(Report &report) {
  for (Cost &cost : report.costs) {
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    mlir::Builder builder(&context);
    ImportOptions options;
    options.randomWeights = report.all.tensors == 0;
    options.kvElement = cost.scheme == r1::Scheme::F32
                            ? mlir::Type(builder.getF32Type())
                            : builder.getBF16Type();
    Expected<mlir::OwningOpRef<mlir::ModuleOp>> module =
        importModel(*report.checkpoint, context, options);
    if (!module) {
      report.problem = toString(module.takeError());
      return;
    }
    mlir::PassManager pm(&context);
    r1::EncodeWeightsPassOptions encode;
    encode.scheme = cost.scheme;
    pm.addPass(r1::createEncodeWeightsPass(encode));
    if (failed(pm.run(**module))) {
      report.problem = "its weights cannot be encoded";
      return;
    }
    cost.parts = countParts(**module);
    report.parameters = report.streamed = 0;
    for (const ModelPart &part : cost.parts) {
      report.parameters += part.parameters;
      report.streamed += part.perToken;
    }
    auto forward = (*module)->lookupSymbol<mlir::func::FuncOp>("forward");
    for (mlir::Type type : forward.getArgumentTypes())
      if (auto cache = dyn_cast<r1::KVCacheType>(type))
        cost.kvBytesPerToken += cache.getTokenBytes();
    report.quantizedKvBytes = quantizedKvBytes(forward);
  }
}

static StringRef preTokenizerName(rt::PreTokenizerKind kind) {
  switch (kind) {
  case rt::PreTokenizerKind::SingleDigits:
    return "qwen2";
  case rt::PreTokenizerKind::DigitTriples:
    return "llama3";
  case rt::PreTokenizerKind::ThreeExpressions:
    return "deepseek_v3";
  }
  llvm_unreachable("every pre-tokenizer has a name");
}

static void readTokens(Report &report) {
  const Checkpoint &checkpoint = *report.checkpoint;
  const GenerationConfig &generation = checkpoint.generation();
  report.bos = generation.bosId ? generation.bosId : report.config().bosId;
  report.eos =
      generation.eosIds.empty() ? report.config().eosIds : generation.eosIds;

  TokenizerReport &tokenizer = report.tokenizer;
  tokenizer.present = checkpoint.isGguf()
                          ? !checkpoint.ggufTokenizer().tokens.empty()
                          : !checkpoint.tokenizerFiles().tokenizerJson.empty();
  if (!tokenizer.present)
    return;
  Expected<TokenizerSpec> spec =
      checkpoint.isGguf()
          ? readTokenizerGguf(checkpoint.ggufTokenizer(), report.path)
          : readTokenizerFolder(report.path);
  if (!spec) {
    tokenizer.problem = toString(spec.takeError());
    return;
  }
  tokenizer.vocabulary = spec->vocabSize();
  tokenizer.added = spec->addedTokens.size();
  tokenizer.preTokenizer = preTokenizerName(spec->preTokenizer).str();
  // Better informed than configurations, some of which name a wrong BOS.
  if (spec->bosId)
    report.bos = *spec->bosId;
  if (!spec->eosIds.empty())
    report.eos.assign(spec->eosIds.begin(), spec->eosIds.end());
}

static StringRef ropeName(const RopeConfig &rope) {
  switch (rope.kind) {
  case RopeConfig::Kind::None:
    return rope.divisors.empty() ? "plain" : "divisors";
  case RopeConfig::Kind::Llama3:
    return "llama3";
  case RopeConfig::Kind::Yarn:
    return "yarn";
  }
  llvm_unreachable("every kind has a name");
}

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

static json::Object tokensJson(const Report &report) {
  json::Object tokens{{"rows", report.config().vocabSize}};
  if (report.bos)
    tokens["bos"] = *report.bos;
  tokens["eos"] = json::Array(report.eos);
  const TokenizerReport &tokenizer = report.tokenizer;
  if (!tokenizer.problem.empty()) {
    tokens["error"] = tokenizer.problem;
  } else if (tokenizer.present) {
    tokens["vocabulary"] = tokenizer.vocabulary;
    tokens["added"] = tokenizer.added;
    tokens["pre_tokenizer"] = tokenizer.preTokenizer;
  }
  return tokens;
}

static json::Object compileJson(const Report &report) {
  if (!report.problem.empty())
    return json::Object{{"error", report.problem}};
  json::Object compile;
  for (const Cost &cost : report.costs) {
    json::Object parts;
    for (const ModelPart &part : cost.parts)
      if (part.parameters)
        parts[part.name] = json::Object{{"bytes", part.bytes},
                                        {"per_token", part.bytesPerToken}};
    compile[r1::stringifyScheme(cost.scheme)] =
        json::Object{{"weight_bytes", cost.weightBytes()},
                     {"weight_bytes_per_token", cost.weightBytesPerToken()},
                     {"kv_bytes_per_token", cost.kvBytesPerToken},
                     {"parts", std::move(parts)}};
  }
  if (report.quantizedKvBytes)
    compile["kv_q8"] =
        json::Object{{"kv_bytes_per_token", report.quantizedKvBytes}};
  return compile;
}

static json::Array partsJson(const Report &report) {
  json::Array parts;
  for (const ModelPart &part : report.ownCost().parts)
    if (part.parameters)
      parts.push_back(json::Object{{"name", part.name},
                                   {"parameters", part.parameters},
                                   {"per_token", part.perToken}});
  return parts;
}

static void printJson(const Report &report, raw_ostream &os) {
  const ModelConfig &config = report.config();
  json::Object types;
  for (auto [type, total] : enumerate(report.types))
    if (total.tensors)
      types[name(static_cast<TensorType>(type))] =
          json::Object{{"count", total.tensors}, {"bytes", total.bytes}};
  json::Object rope{{"kind", ropeName(config.rope)},
                    {"theta", config.rope.theta}};
  if (config.rope.kind != RopeConfig::Kind::None) {
    rope["factor"] = config.rope.factor;
    rope["original_context"] = config.rope.originalMaxPositions;
  }
  json::Object root{{"path", report.path},
                    {"format", report.format},
                    {"architecture", config.modelType},
                    {"layers", config.layers},
                    {"hidden_size", config.hiddenSize},
                    {"intermediate_size", config.intermediateSize},
                    {"heads", config.heads},
                    {"kv_heads", config.kvHeads},
                    {"head_dim", config.headDim},
                    {"tied_head", config.tieWordEmbeddings},
                    {"context", config.maxPositions},
                    {"rope", std::move(rope)},
                    {"tensors", json::Object{{"count", report.all.tensors},
                                             {"bytes", report.all.bytes},
                                             {"types", std::move(types)}}},
                    {"tokens", tokensJson(report)},
                    {"compile", compileJson(report)}};
  if (report.parameters)
    root["parameters"] = report.parameters;
  if (report.streamed)
    root["parameters_per_token"] = report.streamed;
  if (report.problem.empty())
    root["parts"] = partsJson(report);
  os << formatv("{0:2}\n", json::Value(std::move(root)));
}

static std::string sizeText(int64_t bytes) {
  const bool large = bytes >= 1'000'000'000;
  return formatv("{0:f3} {1}", static_cast<double>(bytes) / (large ? 1e9 : 1e6),
                 large ? "GB" : "MB");
}

static std::string tensorsText(const Report &report) {
  if (!report.all.tensors)
    return "none";
  std::string text =
      formatv("{0:N}, {1}", report.all.tensors, sizeText(report.all.bytes));
  StringRef separator = ": ";
  for (auto [type, total] : enumerate(report.types)) {
    if (!total.tensors)
      continue;
    text += formatv("{0}{1:N} {2}", separator, total.tensors,
                    name(static_cast<TensorType>(type)));
    separator = ", ";
  }
  return text;
}

static std::string tokensText(const Report &report) {
  const TokenizerReport &tokenizer = report.tokenizer;
  std::string text = formatv("{0:N} rows", report.config().vocabSize);
  if (!tokenizer.problem.empty())
    text += "; " + tokenizer.problem;
  else if (tokenizer.present)
    text +=
        formatv("; {0:N} tokens, {1} of them added, cut as in {2}",
                tokenizer.vocabulary, tokenizer.added, tokenizer.preTokenizer);
  else
    text += "; no tokenizer";
  if (report.bos)
    text += formatv("; BOS {0}", *report.bos);
  if (!report.eos.empty())
    text += formatv("; EOS {0:$[, ]}",
                    make_range(report.eos.begin(), report.eos.end()));
  return text;
}

static std::string ropeText(const RopeConfig &rope) {
  std::string text =
      formatv("{0}, theta {1}", ropeName(rope), json::Value(rope.theta));
  if (rope.kind != RopeConfig::Kind::None)
    text += formatv(", factor {0} beyond {1:N} positions",
                    json::Value(rope.factor), rope.originalMaxPositions);
  return text;
}

static void printText(const Report &report, raw_ostream &os) {
  const ModelConfig &config = report.config();
  const auto line = [&](const std::string &key, const Twine &value) {
    os << left_justify(key, 14) << value << "\n";
  };
  line("model", report.path + " (" + report.format + ")");
  line("architecture",
       formatv("{0}: {1} layers of width {2}, {3} heads and {4} KV heads of "
               "{5}, {6} in the MLP{7}",
               config.modelType, config.layers, config.hiddenSize, config.heads,
               config.kvHeads, config.headDim, config.intermediateSize,
               config.tieWordEmbeddings ? ", tied head" : "")
           .str());
  line("tensors", tensorsText(report));
  line("parameters", report.parameters
                         ? formatv("{0:N}", report.parameters).str()
                         : std::string("unknown without tensors"));
  const Cost &own = report.ownCost();
  for (const ModelPart &part : own.parts)
    if (part.parameters)
      line("  " + part.name.str(),
           formatv("{0:N}, {1} with --quant={2}; each token reads {3}",
                   part.parameters, sizeText(part.bytes),
                   r1::stringifyScheme(own.scheme),
                   sizeText(part.bytesPerToken))
               .str());
  line("tokens", tokensText(report));
  line("context", formatv("{0:N} positions", config.maxPositions).str());
  line("rope", ropeText(config.rope));
  if (!report.problem.empty())
    line("compile", "not possible: " + report.problem);
  for (const Cost &cost : report.costs)
    if (report.problem.empty())
      line(("--quant=" + r1::stringifyScheme(cost.scheme)).str(),
           formatv("{0} of weights; each token reads {1} and {2:N} bytes of KV "
                   "cache per position, {3} for all",
                   sizeText(cost.weightBytes()),
                   sizeText(cost.weightBytesPerToken()),
                   cost.kvBytesPerToken,
                   sizeText(cost.kvBytesPerToken * config.maxPositions))
               .str());
  if (report.problem.empty() && report.quantizedKvBytes)
    line("--kv=q8", formatv("{0:N} bytes of KV cache per position, {1} for all",
                            report.quantizedKvBytes,
                            sizeText(report.quantizedKvBytes *
                                     config.maxPositions))
                        .str());
}

Error sputnik::inspectModel(StringRef path, bool json, raw_ostream &os) {
  Expected<Checkpoint> checkpoint = openModel(path);
  if (!checkpoint)
    return checkpoint.takeError();
  Report report;
  report.path = path.str();
  report.checkpoint = &*checkpoint;
  readTensors(report);
  report.format = checkpoint->isGguf()      ? "GGUF"
                  : report.all.tensors != 0 ? "safetensors"
                                            : "configuration only";
  readGraph(report);
  readTokens(report);
  if (json)
    printJson(report, os);
  else
    printText(report, os);
  return Error::success();
}
