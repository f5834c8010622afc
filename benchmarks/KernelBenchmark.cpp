//===- KernelBenchmark.cpp - Products and attention, timed ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each benchmark is a graph of one kernel, compiled for this machine, in one
// phase. Weights and caches are larger than the last cache. `GB/s` and `TOPS`
// stand beside the fractions of what the machine reads and multiplies at most,
// measured right before and after. Threads: SPUTNIK_THREADS, else one a core.
//
//===----------------------------------------------------------------------===//
#include "benchmarks/GraphText.h"
#include "benchmarks/LoadedGraph.h"
#include "benchmarks/WeightCopies.h"
#include "runtime/Clock.h"
#include "runtime/MachineProbe.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <benchmark/benchmark.h>
#include <cstdlib>

using namespace sputnik;

namespace {

/// Tokens of the tables that give kernels their rows.
constexpr int64_t kTokens = 256;

/// A graph of one kernel, and what one step of it reads and computes.
struct Kernel {
  std::string text;
  r1::Scheme scheme;
  r1::PhaseKind phase;
  int64_t rows, context;
  double cacheBytes, operations;
};

int64_t threadCount() {
  if (const char *wanted = std::getenv("SPUTNIK_THREADS"))
    return std::max(1, std::atoi(wanted));
  return rt::Cpus::available().defaultThreads();
}

Kernel product(r1::Scheme scheme, r1::PhaseKind phase, int64_t rows,
               int64_t outputs, int64_t inputs) {
  GraphText g;
  auto y = g.linear(g.embed("x", kTokens, inputs), "w", outputs);
  return {g.finish(g.selectOutputs(y)),
          scheme,
          phase,
          rows,
          /*context=*/0,
          /*cacheBytes=*/0,
          2.0 * static_cast<double>(rows * outputs * inputs)};
}

/// Heads as in the smallest distilled model: 12 on 2 of 128 features.
Kernel attention(r1::PhaseKind phase, int64_t rows, int64_t context) {
  constexpr int64_t heads = 12, kvHeads = 2, dim = 128;
  GraphText g({kvHeads, dim, (context + rows + 15) / 16 * 16, "bf16"});
  auto keys = g.embed("k", kTokens, kvHeads * dim);
  auto stream = g.beginLayers(g.embed("q", kTokens, heads * dim));
  g.append(keys, keys);
  auto y = g.endLayers(g.add(stream, g.attention(stream)));
  const double seen =
      static_cast<double>(context) + static_cast<double>(rows + 1) / 2;
  return {g.finish(g.selectOutputs(y)),
          r1::Scheme::BF16,
          phase,
          rows,
          context,
          static_cast<double>(context + rows) * kvHeads * dim * 2 * 2,
          4.0 * heads * dim * seen * static_cast<double>(rows)};
}

const abi::Phase &phaseOf(const abi::Model &model, r1::PhaseKind kind) {
  return kind == r1::PhaseKind::Decode   ? model.decode
         : kind == r1::PhaseKind::Verify ? model.verify
                                         : model.prefill;
}

void run(benchmark::State &state, const Kernel &kernel) {
  mlir::MLIRContext context;
  context.loadDialect<r1::R1Dialect, mlir::func::FuncDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceString<mlir::ModuleOp>(kernel.text, &context);
  LoadedGraph::Options options;
  options.scheme = kernel.scheme;
  const LoadedGraph graph =
      llvm::cantFail(LoadedGraph::create(*module, options));
  const abi::Model &model = graph.model();
  const std::unique_ptr<StepRunner> runner =
      llvm::cantFail(StepRunner::create(model, threadCount()));
  WeightCopies weights =
      llvm::cantFail(WeightCopies::create(model, runner->pool()));
  rt::Result<rt::MachineProbe> probe = rt::MachineProbe::create(
      model, runner->pool(), weights.data(), weights.size());
  if (!probe)
    return state.SkipWithError(probe.error().message.c_str());

  const StepRows steps = StepRows::sequence(
      kernel.rows, kernel.context,
      /*allOutputs=*/kernel.phase != r1::PhaseKind::Prefill);
  std::vector<float> logits(steps.outputs.size() *
                            static_cast<size_t>(model.vocabSize));
  const abi::Phase &phase = phaseOf(model, kernel.phase);
  runner->run(phase, steps, weights.next(), logits.data());
  double read = probe->readBytesPerSecond();
  double dot = probe->dotOperationsPerSecond();
  const uint64_t start = rt::monotonicNanoseconds();
  for (auto _ : state)
    runner->run(phase, steps, weights.next(), logits.data());
  const double seconds =
      static_cast<double>(rt::monotonicNanoseconds() - start) * 1e-9 /
      static_cast<double>(state.iterations());
  read = (read + probe->readBytesPerSecond()) / 2;
  dot = (dot + probe->dotOperationsPerSecond()) / 2;

  const double bytes =
      static_cast<double>(model.weightBytesPerToken) + kernel.cacheBytes;
  state.counters["GB/s"] = bytes / seconds * 1e-9;
  state.counters["of_read"] = bytes / seconds / read;
  state.counters["TOPS"] = kernel.operations / seconds * 1e-12;
  state.counters["of_peak"] = kernel.operations / seconds / dot;
}

void add(const std::string &name, const Kernel &kernel) {
  benchmark::RegisterBenchmark(
      name.c_str(), [kernel](benchmark::State &state) { run(state, kernel); })
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void addAll() {
  // The largest products of the smallest distilled model, and a square one.
  constexpr std::pair<int64_t, int64_t> shapes[] = {
      {8960, 1536}, {1536, 8960}, {4096, 4096}};
  constexpr std::pair<r1::PhaseKind, int64_t> phases[] = {
      {r1::PhaseKind::Decode, 1},
      {r1::PhaseKind::Verify, 2},
      {r1::PhaseKind::Verify, 4},
      {r1::PhaseKind::Verify, 8},
      {r1::PhaseKind::Prefill, 256}};
  for (r1::Scheme scheme : {r1::Scheme::F32, r1::Scheme::BF16, r1::Scheme::Q8,
                            r1::Scheme::Q4, r1::Scheme::FP8})
    for (auto [phase, rows] : phases)
      for (auto [outputs, inputs] : shapes)
        add("product/" + r1::stringifyScheme(scheme).str() + "/" +
                r1::stringifyPhaseKind(phase).str() + "/" +
                std::to_string(rows) + "/" + std::to_string(outputs) + "x" + std::to_string(inputs),
            product(scheme, phase, rows, outputs, inputs));
  for (int64_t context : {1024, 16384}) {
    add("attention/decode/" + std::to_string(context),
        attention(r1::PhaseKind::Decode, 1, context));
    add("attention/prefill/" + std::to_string(context),
        attention(r1::PhaseKind::Prefill, 256, context));
  }
}

} // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  addAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
