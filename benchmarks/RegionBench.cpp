//===- RegionBench.cpp - sputnik-bench: one region, timed -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Takes a file that `sputnik compile --emit=regions --bench-dir` wrote, edited
// or not, makes code of it and runs it in each phase that has the region. Steps
// go from one copy of the random weights to the next, so that no cache holds
// what they read; the region's own notes tell its time. Both bounds are measured
// before and after each phase. The rows of each step choose other experts, at
// random but the same in every run; the bytes that are told are those of the
// experts that were chosen.
//
//===----------------------------------------------------------------------===//
#include "benchmarks/LoadedGraph.h"
#include "benchmarks/WeightCopies.h"
#include "codegen/cpu/Target.h"
#include "runtime/Clock.h"
#include "runtime/MachineProbe.h"
#include "runtime/Profile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/WithColor.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

using namespace mlir;
using namespace sputnik;
using llvm::Error;
using llvm::Expected;
namespace cl = llvm::cl;

namespace {
/// The command line. Made once LLVM's own options, some of the same names, are
/// forgotten.
struct Options {
  cl::opt<std::string> input{cl::Positional, cl::Required,
                             cl::desc("FILE.mlir")};
  cl::opt<int64_t> threads{"threads", cl::init(0), cl::value_desc("N"),
                           cl::desc("one for each core if not given")};
  cl::opt<int64_t> rows{"rows", cl::init(0), cl::value_desc("N"),
                        cl::desc("rows of a step; as many as the phase takes "
                                 "if not given")};
  cl::opt<int64_t> context{"context", cl::init(0), cl::value_desc("N"),
                           cl::desc("positions before the rows")};
  cl::opt<double> seconds{"seconds", cl::init(0.5), cl::value_desc("S"),
                          cl::desc("how long each phase is run")};
};
} // namespace

namespace {
/// What one run of the region reads and computes.
struct Work {
  double bytes = 0, operations = 0;
};

class RegionBench {
public:
  RegionBench(const Options &options, ModuleOp module)
      : options(options), module(module) {}

  Error prepare();
  /// Times the region in one phase, if that has it.
  Error runPhase(StringRef name, const abi::Phase &phase);
  Error runPhases();

private:
  Work workOf(const abi::Region &region, const StepRows &steps,
              double reads) const;
  /// Fills the rows of `function` that say which experts step number `step`
  /// chose, and adds to `found` how many.
  void chooseExperts(func::FuncOp function, int64_t count, uint32_t step);

  const Options &options;
  ModuleOp module;
  std::optional<LoadedGraph> graph;
  std::unique_ptr<StepRunner> runner;
  std::optional<WeightCopies> weights;
  std::vector<float> logits;
  std::optional<rt::MachineProbe> probe;
  /// Experts that the steps of a phase chose, as multiples of what a row chooses.
  double found = 0;
};
} // namespace

template <typename T> static Expected<T> expect(rt::Result<T> result) {
  if (!result)
    return llvm::createStringError(result.error().message);
  return std::move(*result);
}

/// The code runs on this machine if that has all that it may use.
static Error checkTarget(ModuleOp module, const std::string &input) {
  auto target = module->getAttrOfType<r1::TargetAttr>(r1::kTargetAttr);
  if (!target)
    return llvm::createStringError("%s: the module has no %s", input.c_str(),
                                   r1::kTargetAttr.data());
  Expected<r1::TargetAttr> native =
      cpu::getTarget("native", *module.getContext());
  if (!native)
    return native.takeError();
  llvm::StringSet<> here;
  for (StringRef feature : llvm::split(native->getFeatures(), ','))
    here.insert(feature);
  for (StringRef feature : llvm::split(target.getFeatures(), ','))
    if (target.getTriple() != native->getTriple() ||
        (feature.starts_with("+") && !here.contains(feature)))
      return llvm::createStringError(
          "%s: made for %s %s, which this machine is not", input.c_str(),
          target.getTriple().str().c_str(), target.getCpu().str().c_str());
  return Error::success();
}

Error RegionBench::prepare() {
  if (Error error = checkTarget(module, options.input))
    return error;
  Expected<LoadedGraph> loaded =
      LoadedGraph::load(module, /*optLevel=*/3, /*profile=*/true);
  if (!loaded)
    return loaded.takeError();
  graph.emplace(std::move(*loaded));
  const abi::Model &model = graph->model();
  Expected<std::unique_ptr<StepRunner>> created = StepRunner::create(
      model, options.threads ? options.threads
                             : rt::Cpus::available().defaultThreads());
  if (!created)
    return created.takeError();
  runner = std::move(*created);

  Expected<WeightCopies> copies = WeightCopies::create(model, runner->pool());
  if (!copies)
    return copies.takeError();
  weights.emplace(std::move(*copies));
  Expected<rt::MachineProbe> measured = expect(rt::MachineProbe::create(
      model, runner->pool(), weights->data(), weights->size()));
  if (!measured)
    return measured.takeError();
  probe.emplace(std::move(*measured));
  return Error::success();
}

/// The experts that a region multiplies with and the rows that choose them;
/// none in most regions.
static std::pair<Value, int64_t> findExperts(r1::RegionOp region) {
  std::pair<Value, int64_t> found;
  region.walk([&](Operation *op) {
    if (auto up = dyn_cast<r1::ExpertsUpOp>(op))
      found = {up.getChosen(), up.getExperts()};
    if (auto down = dyn_cast<r1::ExpertsDownOp>(op))
      found = {down.getChosen(), down.getExperts()};
  });
  return found;
}

/// `slots` different experts for each row, in ascending order.
static std::vector<int32_t> drawExperts(int64_t rows, int64_t slots,
                                        int64_t experts, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> all(static_cast<size_t>(experts)), drawn;
  std::iota(all.begin(), all.end(), 0);
  for (int64_t row = 0; row < rows; ++row)
    std::sample(all.begin(), all.end(), std::back_inserter(drawn), slots,
                random);
  return drawn;
}

void RegionBench::chooseExperts(func::FuncOp function, int64_t count,
                                uint32_t step) {
  function.walk([&](r1::RegionOp region) {
    auto [chosen, experts] = findExperts(region);
    auto argument = dyn_cast_or_null<BlockArgument>(chosen);
    if (!argument || argument.getOwner() != &function.front())
      return;
    auto buffer = function.getArgAttrOfType<r1::BufferAttr>(
        argument.getArgNumber(), r1::kBufferAttr);
    const int64_t slots =
        cast<RankedTensorType>(chosen.getType()).getDimSize(1);
    const std::vector<int32_t> drawn =
        drawExperts(count, slots, experts, step);
    found += static_cast<double>(std::set(drawn.begin(), drawn.end()).size()) /
             static_cast<double>(slots);
    for (int64_t row = 0; row < count; ++row)
      std::copy_n(drawn.begin() + row * slots, slots,
                  reinterpret_cast<int32_t *>(runner->activations() +
                                              buffer.getOffset() +
                                              row * buffer.getStride()));
  });
}

/// `reads` says how many times the weights that one row reads.
Work RegionBench::workOf(const abi::Region &region, const StepRows &steps,
                         double reads) const {
  const auto count = static_cast<double>(steps.tokens.size());
  const auto outputs = static_cast<double>(steps.outputs.size());
  const auto context = static_cast<double>(options.context);
  // Each row sees itself and those before it.
  const double seen = context + (count + 1) / 2;
  Work work;
  work.bytes = reads * static_cast<double>(region.weightBytes) +
               static_cast<double>(region.positionBytes) * (context + count);
  work.operations =
      2 * (static_cast<double>(region.macs) +
           static_cast<double>(region.positionMacs) * seen) *
      (region.perOutput ? outputs : count);
  return work;
}

static double fraction(double part, double whole) {
  return 100 * part / whole;
}

Error RegionBench::runPhase(StringRef name, const abi::Phase &phase) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return Error::success();
  auto isRegion = [](r1::RegionOp) { return WalkResult::interrupt(); };
  if (!function.walk(isRegion).wasInterrupted())
    return Error::success();
  const abi::Model &model = graph->model();
  auto attr = function->getAttrOfType<r1::PhaseAttr>(r1::kPhaseAttr);
  const int64_t count =
      options.rows > 0 ? std::min<int64_t>(options.rows, phase.maxRows) : phase.maxRows;
  if (options.context < 0 || options.context > model.maxContext - count)
    return llvm::createStringError(
        "--context=%lld: the cache holds %lld positions, %lld are for the rows",
        static_cast<long long>(options.context),
        static_cast<long long>(model.maxContext),
        static_cast<long long>(count));
  const StepRows steps = StepRows::sequence(
      count, options.context, /*allOutputs=*/attr.getKind() != r1::PhaseKind::Prefill);
  logits.resize(steps.outputs.size() * static_cast<size_t>(model.vocabSize));

  Expected<rt::Profile> profile =
      expect(rt::Profile::create(model, runner->pool().size()));
  if (!profile)
    return profile.takeError();
  uint32_t number = 0;
  found = 0;
  const auto step = [&](abi::ThreadProfile *noted) {
    chooseExperts(function, count, number++);
    runner->run(phase, steps, weights->next(), logits.data(), noted);
  };
  step(nullptr);
  double read = probe->readBytesPerSecond();
  double dot = probe->dotOperationsPerSecond();
  const uint64_t start = rt::monotonicNanoseconds();
  do
    step(profile->threads());
  while (static_cast<double>(rt::monotonicNanoseconds() - start) * 1e-9 <
         options.seconds);
  read = (read + probe->readBytesPerSecond()) / 2;
  dot = (dot + probe->dotOperationsPerSecond()) / 2;

  for (const rt::Profile::Summary &summary : profile->summaries()) {
    // Code knows what one row reads of the experts.
    const double reads = found > 0 ? found / number : 1;
    const Work work = workOf(*summary.region, steps, reads);
    const double time = summary.medianMicroseconds * 1e-6;
    llvm::outs() << llvm::format(
        "%-13s %5lld rows %10.1f us %8.1f GB/s %5.1f %% of %.1f  %8.3f TOPS "
        "%5.1f %% of %.3f  idle %4.1f %%\n",
        name.data(), static_cast<long long>(count), summary.medianMicroseconds,
        work.bytes / time * 1e-9, fraction(work.bytes / time, read),
        read * 1e-9, work.operations / time * 1e-12,
        fraction(work.operations / time, dot), dot * 1e-12,
        summary.idle * 100);
  }
  return Error::success();
}

Error RegionBench::runPhases() {
  const abi::Model &model = graph->model();
  for (auto [name, phase] : {std::pair(r1::kDecode, &model.decode),
                             std::pair(r1::kVerify, &model.verify),
                             std::pair(r1::kPrefill, &model.prefill),
                             std::pair(r1::kDraftVerify, &model.draftVerify),
                             std::pair(r1::kDraftPrefill, &model.draftPrefill)})
    if (Error error = runPhase(name, *phase))
      return error;
  return Error::success();
}

static Error run(const Options &options) {
  MLIRContext mlirContext;
  mlirContext.loadDialect<r1::R1Dialect, func::FuncDialect>();
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(options.input, &mlirContext);
  if (!module)
    return llvm::createStringError("%s: expected a module of MLIR",
                                   options.input.c_str());
  RegionBench bench(options, *module);
  if (Error error = bench.prepare())
    return error;
  return bench.runPhases();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::ResetCommandLineParser();
  const Options options;
  cl::ParseCommandLineOptions(
      argc, argv, "Times one region of a model, as edited, on this machine\n");
  if (Error error = run(options)) {
    llvm::WithColor::error(llvm::errs(), "sputnik-bench")
        << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}
