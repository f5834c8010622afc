//===- CPUKernelCheck.cpp - Kernels of CPUs against float64 ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/KernelFixture.h"

#include "benchmarks/LoadedGraph.h"
#include "benchmarks/StepRunner.h"
#include "codegen/cpu/Target.h"
#include "codegen/link/Linker.h"
#include "test/models/Process.h"
#include "test/unit/kernels/TileModel.h"

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

#include <cstring>
#include <functional>

namespace sputnik::testing {

/// Rows of a prefill step: two tiles of the kernel and a part of one; for tile
/// registers, whole ones.
static int64_t prefillRows(llvm::StringRef target) {
  return target.contains("amx") ? 32 : 29;
}

const std::vector<int> kernelOptLevels = {0, 3};
const std::vector<r1::Scheme> kernelBlockSchemes = {
    r1::Scheme::Q8, r1::Scheme::Q4, r1::Scheme::Q4Plain, r1::Scheme::FP8};
const std::vector<r1::Scheme> kernelExpertSchemes = {
    r1::Scheme::F32, r1::Scheme::BF16, r1::Scheme::FP8};

bool KernelFixture::roundsActivations() {
  return llvm::cantFail(cpu::getTarget(target(), context)).getBf16Dot() !=
         r1::DotKind::FMA;
}

bool KernelFixture::roundsAttention() {
  return optLevel() > 0 && roundsActivations();
}
bool KernelFixture::attendsInBytes() { return true; }
bool KernelFixture::roundsWeights() { return false; }
bool KernelFixture::multipliesBytes() {
  return llvm::cantFail(cpu::getTarget(target(), context)).getInt8Dot() !=
         r1::IntDotKind::None;
}

static std::optional<std::string> findEmulator() {
#ifdef SPUTNIK_STEP_PROGRAM
  if (auto found = llvm::sys::findProgramByName("qemu-aarch64-static"))
    return *found;
#endif
  return std::nullopt;
}

std::vector<std::string> otherKernelTargets() {
  std::vector<std::string> targets;
  const llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  const std::pair<const char *, const char *> needs[] = {
      {"x86-64-v3", "avx2"},
      {"x86-64-v3+avxvnni", "avxvnni"},
      {"x86-64-v4", "avx512bw"}};
  for (auto [target, feature] : needs)
    if (host.lookup(feature))
      targets.push_back(target);
  // Tile registers are modelled, the other instructions are the machine's.
  if (host.lookup("avx512vnni") && host.lookup("avx512bf16"))
    targets.push_back(
        "x86-64-v4+avx512vnni+avx512bf16+amx-tile+amx-int8+amx-bf16");
  if (findEmulator())
    for (const char *target :
         {"aarch64", "aarch64+dotprod", "aarch64+dotprod+i8mm+bf16"})
      targets.push_back(target);
  return targets;
}

/// The weights of an image, aligned as steps want them.
static rt::Mapping loadImage(const std::vector<uint8_t> &image) {
  rt::Mapping weights =
      llvm::cantFail(allocateMemory(image.size(), "the weights"));
  std::copy(image.begin(), image.end(), weights.data());
  return weights;
}

/// Leaves of the matrices what `thread` reads in decode by the shares that `model`
/// tells; all else is no numbers.
static void keepOwnRows(const abi::Model &model, uint8_t *weights,
                        uint64_t thread, uint64_t threads) {
  for (uint64_t i = 0; i < model.shareCount; ++i) {
    const abi::WeightShare &share = model.shares[i];
    const uint64_t units = llvm::divideCeil(share.partBytes, share.unitBytes);
    const uint64_t first = units * thread / threads;
    uint64_t last = units * (thread + 1) / threads;
    if (share.parts > 1) // A bound inside of a unit may be on either side.
      last = llvm::divideCeil(units * (thread + 1), threads);
    for (uint64_t part = 0; part < share.layers * share.parts; ++part) {
      uint8_t *begin = weights + share.offset +
                       part / share.parts * share.layerStride +
                       part % share.parts * share.partBytes;
      uint8_t *end = begin + share.partBytes;
      std::fill(begin, std::min(begin + first * share.unitBytes, end), 0xff);
      std::fill(std::min(begin + last * share.unitBytes, end), end, 0xff);
    }
  }
}

/// The logits that decode, verify and prefill give for the same rows.
using Logits = std::array<std::vector<float>, 3>;
/// Runs all phases with so many threads.
using RunPhases = std::function<Logits(int64_t threads)>;

/// Code in which tile registers are replaced by their model.
static llvm::Expected<llvm::SmallVector<char, 0>>
compileWithTileModel(mlir::ModuleOp module,
                     const LoadedGraph::Options &options) {
  auto text = LoadedGraph::compile(module, options, cpu::CodeForm::LLVM);
  if (!text)
    return text.takeError();
  text->push_back('\0');
  llvm::LLVMContext context;
  llvm::SMDiagnostic problem;
  std::unique_ptr<llvm::Module> code = llvm::parseIR(
      {llvm::StringRef(text->data(), text->size() - 1), "graph"}, problem,
      context);
  if (!code)
    return llvm::createStringError(problem.getMessage());
  if (llvm::Error error = replaceTiles(*code))
    return error;
  auto target =
      module->getAttrOfType<r1::TargetAttr>(r1::kTargetAttr);
  auto machine = cpu::createTargetMachine(target, options.optLevel,
                                          /*positionIndependent=*/true);
  if (!machine)
    return machine.takeError();
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager codegen;
  if ((*machine)->addPassesToEmitFile(codegen, os, nullptr,
                                      llvm::CodeGenFileType::ObjectFile))
    return llvm::createStringError("no object files for this target");
  codegen.run(*code);
  return object;
}

/// Whether threads look up rows of a matrix that they share otherwise.
static bool embedsMatrix(mlir::ModuleOp module) {
  llvm::DenseSet<mlir::Attribute> tables;
  module.walk([&](r1::EmbedOp op) { tables.insert(op.getWeightAttr()); });
  return module
      .walk([&](r1::ProductInterface product) {
        llvm::SmallVector<mlir::FlatSymbolRefAttr> matrices;
        product.getMatrices(matrices);
        return llvm::any_of(matrices,
                            [&](auto matrix) { return tables.contains(matrix); })
                   ? mlir::WalkResult::interrupt()
                   : mlir::WalkResult::advance();
      })
      .wasInterrupted();
}

/// Whether several threads run step `index` of `steps` of decode or verify too:
/// some of each length, for threads that meet wait long where cores are busy.
static bool runsWithThreads(int64_t index, int64_t steps) {
  return index < 4 || index % 7 == 5 || index == steps - 1;
}

/// Code in this process. With `apart` each of several threads of decode and verify
/// has its rows of the weights only. The first run is with one thread; later ones
/// find its caches and, in the steps that they do not run, give its results.
static RunPhases loadCode(const LoadedGraph &graph,
                          const std::vector<uint8_t> &image, int64_t count,
                          bool apart) {
  struct Alone {
    Logits logits;
    std::array<std::vector<uint8_t>, 3> caches;
  };
  auto alone = std::make_shared<Alone>();
  return [=, &graph, &image](int64_t threads) {
    const abi::Model &model = graph.model();
    std::unique_ptr<StepRunner> runner =
        llvm::cantFail(StepRunner::create(model, threads));
    const rt::Mapping weights = loadImage(image);
    const std::vector<const uint8_t *> shared(threads, weights.data());
    std::vector<rt::Mapping> rowsOfThreads;
    std::vector<const uint8_t *> own;
    for (int64_t thread = 0; apart && thread < threads; ++thread) {
      rowsOfThreads.push_back(loadImage(image));
      own.push_back(rowsOfThreads.back().data());
      keepOwnRows(model, rowsOfThreads.back().data(), thread, threads);
    }
    Logits logits = alone->logits;
    for (auto [result, cache, phase] : llvm::zip_equal(
             logits, alone->caches,
             std::array{&model.decode, &model.verify, &model.prefill})) {
      result.resize(static_cast<size_t>(count * model.vocabSize));
      if (threads > 1)
        llvm::copy(cache, runner->cache(0));
      const int64_t steps = llvm::divideCeil(count, phase->maxRows);
      for (int64_t step = 0; step < steps; ++step) {
        if (threads > 1 && phase != &model.prefill &&
            !runsWithThreads(step, steps))
          continue;
        const int64_t row = step * phase->maxRows;
        StepRows rows =
            StepRows::sequence(std::min(phase->maxRows, count - row), row);
        for (int32_t &token : rows.tokens)
          token += static_cast<int32_t>(row);
        float *found = result.data() + row * model.vocabSize;
        std::fill_n(found, rows.tokens.size() * model.vocabSize,
                    std::nanf(""));
        runner->run(*phase, rows,
                    apart && phase != &model.prefill ? own : shared, found);
      }
      if (threads == 1)
        cache.assign(runner->cache(0), runner->cache(0) + model.cacheBytes);
    }
    if (threads == 1)
      alone->logits = logits;
    return logits;
  };
}

#ifdef SPUTNIK_STEP_PROGRAM
static void writeFile(const std::string &path, llvm::ArrayRef<char> bytes) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  os.write(bytes.data(), bytes.size());
}

/// Code in a program for an emulator.
static RunPhases linkProgram(llvm::ArrayRef<char> object,
                             llvm::ArrayRef<uint8_t> image, int64_t count) {
  auto folder = std::make_shared<TemporaryFolder>();
  writeFile(folder->path("graph.o"), object);
  writeFile(folder->path("weights"),
            {reinterpret_cast<const char *>(image.data()), image.size()});
  const RuntimePack pack = llvm::cantFail(RuntimePack::open(
      llvm::Triple("aarch64-unknown-linux-gnu"), SPUTNIK_AARCH64_PACK));
  std::vector<std::string> link = {SPUTNIK_LINKER, "-m", pack.emulation().str(),
                                   "-static", "-o", folder->path("program")};
  llvm::append_range(link, pack.before());
  link.insert(link.end(), {folder->path("graph.o"), SPUTNIK_STEP_PROGRAM});
  llvm::append_range(link, pack.after());
  sputnik::run(link);
  return [=](int64_t threads) {
    sputnik::run({*findEmulator(), "-cpu", "max", folder->path("program"),
                  folder->path("weights"), folder->path("logits"),
                  std::to_string(count), std::to_string(threads)});
    Logits logits;
    auto file = llvm::MemoryBuffer::getFile(folder->path("logits"));
    if (!file)
      return logits;
    const size_t bytes = (*file)->getBufferSize() / logits.size();
    const char *from = (*file)->getBufferStart();
    for (std::vector<float> &result : logits) {
      result.resize(bytes / sizeof(float));
      std::memcpy(result.data(), from, bytes);
      from += bytes;
    }
    return logits;
  };
}
#endif

void KernelFixture::check(const std::string &text, const Matrix &expected,
                          const Matrix &expectedPrefill, double tolerance,
                          double prefillTolerance) {
  mlir::OwningOpRef<mlir::ModuleOp> module = parse(text);
  ASSERT_TRUE(module);
  LoadedGraph::Options options;
  options.scheme = scheme();
  options.optLevel = optLevel();
  options.prefillRows = prefillRows(target());
  options.target = target();
  std::optional<LoadedGraph> graph;
  llvm::SmallVector<char, 0> object;
  const bool emulated = llvm::StringRef(target()).starts_with("aarch64");
  if (emulated) {
    auto made = LoadedGraph::compile(*module, options);
    ASSERT_TRUE(static_cast<bool>(made)) << toString(made.takeError());
    object = std::move(*made);
  } else {
    auto made = llvm::StringRef(target()).contains("amx")
                    ? compileWithTileModel(*module, options)
                    : LoadedGraph::compile(*module, options);
    ASSERT_TRUE(static_cast<bool>(made)) << toString(made.takeError());
    auto loaded = LoadedGraph::loadObject(*made);
    ASSERT_TRUE(static_cast<bool>(loaded)) << toString(loaded.takeError());
    ASSERT_EQ(loaded->model().vocabSize, expected.columns);
    ASSERT_EQ(loaded->model().prefill.maxRows, options.prefillRows);
    graph.emplace(std::move(*loaded));
  }

  MemorySink sink((*module)->getAttrOfType<mlir::IntegerAttr>(
      r1::kImageBytesAttr).getInt());
  llvm::Expected<ContentId> id = writeWeights(*module, *checkpoint, sink);
  ASSERT_TRUE(static_cast<bool>(id)) << toString(id.takeError());
  RunPhases run;
#ifdef SPUTNIK_STEP_PROGRAM
  if (emulated)
    run = linkProgram(object, sink.image, expected.rows);
#endif
  if (graph)
    run = loadCode(*graph, sink.image, expected.rows,
                   /*apart=*/optLevel() > 0 && !embedsMatrix(*module));

  const auto same = [](const std::vector<float> &a,
                       const std::vector<float> &b) {
    return a.size() == b.size() &&
           std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  const Logits alone = run(1);
  const std::tuple<const char *, const Matrix *, double> wanted[] = {
      {"decode", &expected, tolerance},
      {"verify", &expected, tolerance},
      {"prefill", &expectedPrefill, prefillTolerance}};
  for (auto [result, want] : llvm::zip_equal(alone, wanted)) {
    auto [name, matrix, within] = want;
    SCOPED_TRACE(name);
    ASSERT_EQ(result.size(), expected.values.size());
    expectNear(result, *matrix, within);
  }
  EXPECT_TRUE(same(alone[0], alone[1]))
      << "verify gives other bits than decode";
  for (int64_t threads : {2, 3}) {
    const Logits shared = run(threads);
    for (size_t phase = 0; phase < alone.size(); ++phase)
      EXPECT_TRUE(same(shared[phase], alone[phase]))
          << std::get<0>(wanted[phase]) << " gives other bits with " << threads
          << " threads than with one";
  }
}

} // namespace sputnik::testing
