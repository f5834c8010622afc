//===- Compile.cpp - From a checkpoint to an executable -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/Compile.h"

#include "codegen/cpu/ModelObject.h"
#include "codegen/cpu/Target.h"
#include "codegen/gpu/Chip.h"
#include "codegen/gpu/KernelCode.h"
#include "codegen/link/Linker.h"
#include "codegen/link/OutputFile.h"
#include "codegen/weights/WeightWriter.h"
#include "importer/Checkpoint.h"
#include "importer/Graph.h"
#include "importer/Licence.h"
#include "importer/TokenizerBlobWriter.h"
#include "importer/TokenizerReader.h"
#include "passes/Pipelines.h"
#include "tools/ImportanceFile.h"
#include "tools/ModelParts.h"
#include "tools/RegionBenchmarks.h"
#include "tools/Targets.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace sputnik;
using llvm::Error;
using llvm::Expected;

/// The CPU beside a GPU, of which little is asked.
static constexpr llvm::StringLiteral kHostOfGPU = "x86-64-v3";

namespace {

/// Turns diagnostics of MLIR into one llvm::Error.
class DiagnosticCollector {
public:
  explicit DiagnosticCollector(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
            return failure();
          if (message.empty())
            message = diagnostic.str();
          return success();
        }) {}

  Error takeError() {
    return llvm::createStringError(message.empty() ? "internal error"
                                                   : message.c_str());
  }

private:
  std::string message;
  ScopedDiagnosticHandler handler;
};

/// One compilation.
class Compiler {
public:
  explicit Compiler(const CompileOptions &options)
      : options(options), diagnostics(context) {
    context.loadDialect<r1::R1Dialect, func::FuncDialect>();
  }

  Error run();

private:
  Error import();
  Error findAssembler();
  Error runPasses();
  Error readTokenizer();
  std::string describe();
  Error writeText();
  Error writeExecutable();
  Expected<SmallString<0>> makeObject(ArrayRef<uint8_t> id);
  Expected<SmallString<0>> makeKernelText();
  r1::Scheme kvScheme() const {
    return options.kv.value_or(options.scheme == r1::Scheme::F32
                                   ? r1::Scheme::F32
                                   : r1::Scheme::BF16);
  }
  Type kvElement() {
    switch (kvScheme()) {
    case r1::Scheme::F32:
      return Float32Type::get(&context);
    case r1::Scheme::Q8:
      return IntegerType::get(&context, 8);
    default:
      return BFloat16Type::get(&context);
    }
  }
  /// Whether code needs the tile registers of x86, for which the runtime asks.
  bool usesTileRegisters() const {
    return !target.isGPU() && options.optLevel > 0 &&
           cpu::hasFeature(target, "amx-tile");
  }
  /// Identity of everything but the bytes of the weights.
  ContentId identify();
  /// Calls `body` with each target's module until it fails.
  LogicalResult
  forTargets(function_ref<LogicalResult(ModuleOp, r1::TargetAttr)> body) {
    if (failed(body(*module, target)))
      return failure();
    for (auto [other, chip] : llvm::zip_equal(
             otherModules, ArrayRef(targets).drop_front()))
      if (failed(body(*other, chip)))
        return failure();
    return success();
  }
  uint64_t imageBytes() {
    return (*module)->getAttrOfType<IntegerAttr>(r1::kImageBytesAttr).getInt();
  }
  Expected<ContentId> fillImage(const ImageSink &image);
  Error writeReport();

  const CompileOptions &options;
  MLIRContext context;
  DiagnosticCollector diagnostics;
  SmallVector<r1::TargetAttr> targets;
  r1::TargetAttr target; ///< The first.
  std::optional<gpu::Assembler> assembler;
  std::optional<Checkpoint> checkpoint;
  OwningOpRef<ModuleOp> module;
  /// The same for the other targets, whose regions may differ: they read the
  /// same weights.
  std::vector<OwningOpRef<ModuleOp>> otherModules;
  llvm::SmallVector<char, 0> tokenizer;
  std::string info;
  WeightReport report;
  std::optional<Importance> importance;
};

} // namespace

Error Compiler::findAssembler() {
  if (!target.isGPU() || (options.emit != EmitKind::Executable &&
                          options.emit != EmitKind::Object))
    return Error::success();
  if (!options.ptxas) {
    assembler = gpu::Assembler::find();
    if (!assembler && !options.quiet)
      llvm::WithColor::note(llvm::errs(), "sputnik")
          << "no ptxas is installed: the driver will make machine code of the "
             "kernels' PTX when the executable starts for the first time\n";
  } else if (!options.ptxas->empty()) {
    Expected<gpu::Assembler> opened = gpu::Assembler::open(*options.ptxas);
    if (!opened)
      return llvm::createStringError("--ptxas: " +
                                     llvm::toString(opened.takeError()));
    assembler = std::move(*opened);
  }
  return Error::success();
}

Error Compiler::import() {
  Expected<SmallVector<r1::TargetAttr>> found =
      getTargets(options.target, context);
  if (!found)
    return found.takeError();
  targets = std::move(*found);
  target = targets.front();
  if (target.isGPU() && options.optLevel == 0)
    return llvm::createStringError("-O0: kernels for a GPU are made of packed "
                                   "weights and whole regions; expected -O1 "
                                   "to -O3");
  if (target.isGPU() && !options.benchFolder.empty())
    return llvm::createStringError("--bench-dir: sputnik-bench times kernels of "
                                   "CPUs; those of a GPU are timed by bench "
                                   "--profile of the executable");
  if (Error error = findAssembler())
    return error;
  Expected<Checkpoint> opened = options.weights == WeightsKind::Random
                                    ? Checkpoint::openConfigOnly(options.model)
                                    : Checkpoint::open(options.model);
  if (!opened)
    return opened.takeError();
  checkpoint.emplace(std::move(*opened));

  ImportOptions import;
  import.target = target;
  import.kvElement = kvElement();
  import.maxContext = options.maxContext;
  import.randomWeights = options.weights == WeightsKind::Random;
  Expected<OwningOpRef<ModuleOp>> graph =
      importModel(*checkpoint, context, import);
  if (!graph)
    return graph.takeError();
  module = std::move(*graph);
  return Error::success();
}

/// Whether kernels of both find their weights in one image.
static bool haveSameImage(ModuleOp a, ModuleOp b) {
  auto weights = [](ModuleOp module) {
    return llvm::to_vector(module.getOps<r1::DerivedOp>());
  };
  return a->getAttr(r1::kImageBytesAttr) == b->getAttr(r1::kImageBytesAttr) &&
         llvm::equal(weights(a), weights(b),
                     [](r1::DerivedOp one, r1::DerivedOp other) {
                       return one->getAttrDictionary() ==
                              other->getAttrDictionary();
                     });
}

/// Rows of a chunk of a prompt: so many that unpacking weights costs a CPU little, and
/// all of a GPU's multiprocessors have tiles.
static constexpr int64_t kCPUPrefillRows = 512, kGPUPrefillRows = 2048;

Error Compiler::runPasses() {
  PassManager pm(&context);
  r1::PipelineOptions pipeline;
  pipeline.optLevel = options.optLevel;
  pipeline.scheme = options.scheme;
  pipeline.prefillRows = target.isGPU() ? kGPUPrefillRows : kCPUPrefillRows;
  for (const std::string &rule : options.overrides)
    pipeline.overrides.push_back(rule);
  pipeline.observe = options.observations != nullptr;
  r1::buildPipeline(pm, pipeline);
  for (r1::TargetAttr chip : ArrayRef(targets).drop_front()) {
    otherModules.emplace_back(module->clone());
    (*otherModules.back())->setAttr(r1::kTargetAttr, chip);
  }
  auto run = [&](ModuleOp each, r1::TargetAttr) { return pm.run(each); };
  if (failed(forTargets(run)))
    return diagnostics.takeError();
  for (auto [other, chip] :
       llvm::zip_equal(otherModules, ArrayRef(targets).drop_front()))
    if (!haveSameImage(*module, *other))
      return llvm::createStringError(
          "--target: %s and %s read weights in other layouts; expected chips "
          "that share one image",
          target.getCpu().str().c_str(), chip.getCpu().str().c_str());
  std::vector<r1::Observation> products = r1::listObservations(*module);
  if (!options.importance.empty()) {
    Expected<Importance> read = readImportance(options.importance, products);
    if (!read)
      return read.takeError();
    importance = std::move(*read);
  }
  if (options.observations)
    *options.observations = std::move(products);
  return Error::success();
}

Error Compiler::readTokenizer() {
  // Without a tokenizer the executable takes and gives token ids only.
  bool gguf = checkpoint->isGguf();
  if (gguf ? checkpoint->ggufTokenizer().tokens.empty()
           : checkpoint->tokenizerFiles().tokenizerJson.empty())
    return Error::success();
  Expected<TokenizerSpec> spec =
      gguf ? readTokenizerGguf(checkpoint->ggufTokenizer(), options.model)
           : readTokenizerFolder(options.model);
  if (!spec)
    return spec.takeError();
  if (Error error = checkTokenizerFits(*spec, checkpoint->config().vocabSize,
                                       options.model))
    return error;
  Expected<llvm::SmallVector<char, 0>> blob = writeTokenizerBlob(*spec);
  if (!blob)
    return blob.takeError();
  tokenizer = std::move(*blob);
  return Error::success();
}

static int64_t countParameters(ModuleOp module) {
  int64_t count = 0;
  for (const ModelPart &part : countParts(module))
    count += part.parameters;
  return count;
}

/// What a conversation's cache takes, and in which format.
static llvm::json::Object describeCache(ModuleOp module, r1::Scheme scheme) {
  int64_t tokenBytes = 0, slotBytes = 0;
  auto forward = module.lookupSymbol<func::FuncOp>("forward");
  for (Type type : forward.getArgumentTypes())
    if (auto cache = dyn_cast<r1::KVCacheType>(type)) {
      tokenBytes += cache.getTokenBytes();
      slotBytes += cache.getSlotBytes();
    }
  return llvm::json::Object{{"format", r1::stringifyScheme(scheme)},
                            {"bytes_per_token", tokenBytes},
                            {"bytes_at_full_context", slotBytes}};
}

/// What there is of kernels for each chip, and who runs it.
static llvm::json::Array describeKernels(ArrayRef<r1::TargetAttr> chips,
                                         bool assembled) {
  llvm::json::Array kernels;
  for (r1::TargetAttr chip : chips)
    kernels.push_back(
        llvm::formatv("{0}: {1}PTX for {2}", chip.getCpu(),
                      assembled ? "cubin, " : "",
                      gpu::getCapability(chip.getCpu()).onlyThis
                          ? "this chip alone"
                          : "later chips, too")
            .str());
  return kernels;
}

std::string Compiler::describe() {
  const ModelConfig &config = checkpoint->config();
  const GenerationConfig &generation = checkpoint->generation();
  llvm::json::Array eos;
  for (int64_t id :
       generation.eosIds.empty() ? config.eosIds : generation.eosIds)
    eos.push_back(id);
  llvm::json::Array licences;
  for (StringRef note : licenceNotes(config.modelType))
    licences.push_back(note);
  StringRef path = StringRef(options.model).rtrim('/');
  const char *weights[] = {"embed", "beside", "random"};
  llvm::json::Object sampling{{"eos_token_ids", std::move(eos)}};
  sampling["temperature"] = generation.temperature.value_or(0.6);
  sampling["top_p"] = generation.topP.value_or(0.95);
  sampling["top_k"] = generation.topK.value_or(0);
  llvm::json::Object machine{{"name", options.target},
                             {"triple", target.getTriple()},
                             {"cpu", target.getCpu()},
                             {"features", target.getFeatures()},
                             {"tile_registers", usesTileRegisters()}};
  if (target.isGPU())
    machine["kernels"] = describeKernels(targets, assembler.has_value());
  llvm::json::Object root{
      {"sputnik", llvm::json::Object{{"version", SPUTNIK_VERSION}}},
      {"model",
       llvm::json::Object{
           {"name", llvm::sys::path::filename(path)},
           {"architecture", config.modelType},
           {"source", checkpoint->isGguf() ? "gguf" : "huggingface"},
           {"parameters", countParameters(*module)}}},
      {"target", std::move(machine)},
      {"quantization",
       llvm::json::Object{
           {"weights", r1::stringifyScheme(options.scheme)},
           {"importance", !options.importance.empty()},
           {"kv", r1::stringifyScheme(kvScheme())}}},
      {"kv_cache", describeCache(*module, kvScheme())},
      {"compile",
       llvm::json::Object{
           {"opt_level", options.optLevel},
           {"profile", options.profile},
           {"weights", weights[static_cast<int>(options.weights)]}}},
      {"generation_config", std::move(sampling)},
      {"licence_notes", std::move(licences)}};
  return llvm::formatv("{0}", llvm::json::Value(std::move(root)));
}

ContentId Compiler::identify() {
  std::string text;
  llvm::raw_string_ostream os(text);
  module->print(os);
  return llvm::BLAKE3::hash<abi::kImageIdBytes>(
      llvm::arrayRefFromStringRef(text));
}

Expected<SmallString<0>> Compiler::makeObject(ArrayRef<uint8_t> id) {
  cpu::ModelDescription description;
  switch (options.weights) {
  case WeightsKind::Embed:
    description.weightSource = abi::kEmbedded;
    break;
  case WeightsKind::Beside:
    description.weightSource = abi::kBeside;
    break;
  case WeightsKind::Random:
    description.weightSource = abi::kRandom;
    break;
  }
  llvm::copy(id, description.imageId.begin());
  description.seed = options.seed;
  description.profile = options.profile;
  if (options.observations && !options.observations->empty()) {
    const r1::Observation &last = options.observations->back();
    description.observedBytes = last.offset + last.getBytes();
  }
  description.tokenizer = StringRef(tokenizer.data(), tokenizer.size());
  description.info = info;
  std::vector<cpu::KernelImage> kernels;
  if (target.isGPU()) {
    SmallVector<ModuleOp> modules = {*module};
    for (OwningOpRef<ModuleOp> &other : otherModules)
      modules.push_back(*other);
    FailureOr<std::vector<cpu::KernelImage>> images =
        gpu::makeKernelImages(modules, assembler);
    if (failed(images))
      return diagnostics.takeError();
    kernels = std::move(*images);
    Expected<r1::TargetAttr> host = cpu::getTarget(kHostOfGPU, context);
    if (!host)
      return host.takeError();
    description.kernels = kernels;
    description.host = *host;
  }
  SmallString<0> object;
  llvm::raw_svector_ostream os(object);
  cpu::CodeForm form = options.emit == EmitKind::LLVM ? cpu::CodeForm::LLVM
                       : options.emit == EmitKind::Assembly
                           ? cpu::CodeForm::Assembly
                           : cpu::CodeForm::Object;
  if (failed(cpu::writeModelCode(*module, description, options.optLevel, form,
                                 os)))
    return diagnostics.takeError();
  return object;
}

/// LLVM IR or PTX of the kernels for each chip.
Expected<SmallString<0>> Compiler::makeKernelText() {
  SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  auto make = [&](ModuleOp each, r1::TargetAttr chip) -> LogicalResult {
    llvm::LLVMContext llvmContext;
    FailureOr<gpu::KernelCode> code =
        gpu::makeKernelCode(each, chip, llvmContext);
    if (failed(code) || failed(gpu::optimizeKernels(*code->module, chip, each)))
      return failure();
    if (options.emit == EmitKind::LLVM) {
      code->module->print(os, nullptr);
      return success();
    }
    FailureOr<std::string> ptx = gpu::makePtx(*code->module, chip, each);
    if (failed(ptx))
      return failure();
    os << *ptx;
    return success();
  };
  if (failed(forTargets(make)))
    return diagnostics.takeError();
  return text;
}

/// Writes to a file that appears whole or not at all, or to what can only be
/// written to: standard output, a device, a pipe.
static Error writeTextOutput(StringRef path, StringRef text) {
  llvm::sys::fs::file_status status;
  if (path != "-" && (llvm::sys::fs::status(path, status) ||
                      llvm::sys::fs::is_regular_file(status) ||
                      llvm::sys::fs::is_directory(status))) {
    Expected<OutputFile> file = OutputFile::create(path, /*executable=*/false);
    if (!file)
      return file.takeError();
    if (Error error = file->write(0, llvm::arrayRefFromStringRef(text)))
      return error;
    return file->commit();
  }
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (!code) {
    os << text;
    os.flush();
    code = os.error();
    os.clear_error();
  }
  if (!code)
    return Error::success();
  return llvm::createStringError(
      code, "%s: %s", path == "-" ? "standard output" : path.str().c_str(),
      code.message().c_str());
}

Error Compiler::writeText() {
  SmallString<0> text;
  if (options.emit == EmitKind::R1 || options.emit == EmitKind::Regions) {
    llvm::raw_svector_ostream os(text);
    module->print(os);
    os << "\n";
  } else {
    Expected<SmallString<0>> code =
        target.isGPU() && options.emit != EmitKind::Object
            ? makeKernelText()
            : makeObject(identify());
    if (!code)
      return code.takeError();
    text = std::move(*code);
  }
  return writeTextOutput(options.output, text);
}

Expected<ContentId> Compiler::fillImage(const ImageSink &image) {
  struct Sink final : WeightSink {
    explicit Sink(const ImageSink &image) : image(image) {}
    Error write(uint64_t offset, ArrayRef<uint8_t> bytes) override {
      return image.write(offset, bytes);
    }
    const ImageSink &image;
  } sink(image);
  WeightWriterOptions weights;
  weights.threads = options.threads;
  if (options.progress)
    weights.progress = [](uint64_t done, uint64_t total) {
      llvm::errs() << "\rweights " << done * 100 / std::max<uint64_t>(total, 1)
                   << " %" << (done == total ? "\r\033[K" : "");
    };
  if (options.report)
    weights.report = &report;
  if (importance)
    weights.importance = &*importance;
  return writeWeights(*module, *checkpoint, sink, weights);
}

Error Compiler::writeReport() {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (StringRef(*options.report).ends_with(".json"))
    os << llvm::formatv("{0:2}\n", reportAsJson(report));
  else
    printReport(report, os);
  return writeTextOutput(*options.report, text);
}

Error Compiler::writeExecutable() {
  WeightStore store = options.weights == WeightsKind::Embed ? WeightStore::Embed
                      : options.weights == WeightsKind::Beside
                          ? WeightStore::Beside
                          : WeightStore::None;
  // What opens the driver's library must open the C library too.
  Expected<RuntimePack> pack =
      target.isGPU()
          ? RuntimePack::find(llvm::Triple("x86_64-unknown-linux-gnu"),
                              options.program, Linkage::Dynamic)
          : RuntimePack::find(llvm::Triple(target.getTriple()),
                              options.program);
  if (!pack)
    return pack.takeError();
  Expected<ExecutableWriter> writer =
      ExecutableWriter::create(options.output, store);
  if (!writer)
    return writer.takeError();

  ContentId id = identify();
  // Weights beside are known by their content, which is known once they are
  // written; those inside need the linked file first.
  if (store == WeightStore::Beside) {
    Expected<ImageSink> sink = writer->image(imageBytes(), id);
    if (!sink)
      return sink.takeError();
    Expected<ContentId> content = fillImage(*sink);
    if (!content)
      return content.takeError();
    id = *content;
    if (Error error = writer->identify(id))
      return error;
  }
  Expected<SmallString<0>> object = makeObject(id);
  if (!object)
    return object.takeError();
  if (Error error = writer->link(*object, *pack))
    return error;
  if (store == WeightStore::Embed) {
    Expected<ImageSink> sink = writer->image(imageBytes(), id);
    if (!sink)
      return sink.takeError();
    if (Expected<ContentId> content = fillImage(*sink); !content)
      return content.takeError();
  }
  // A report that cannot be written leaves the old executable.
  if (options.report)
    if (Error error = writeReport())
      return error;
  return writer->commit();
}

Error Compiler::run() {
  if (Error error = import())
    return error;
  if (options.emit == EmitKind::R1)
    return writeText();
  if (Error error = readTokenizer())
    return error;
  info = describe();
  if (Error error = runPasses())
    return error;
  if (!options.benchFolder.empty())
    if (Error error = writeRegionBenchmarks(*module, options.benchFolder,
                                            options.optLevel))
      return error;
  if (options.emit != EmitKind::Executable)
    return writeText();
  return writeExecutable();
}

Error sputnik::compileModel(const CompileOptions &options) {
  return Compiler(options).run();
}
