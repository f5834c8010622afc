//===- GPUKernelCheck.cpp - Kernels of GPUs against float64 ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/gpu/EmulatedGraph.h"
#include "test/unit/kernels/KernelFixture.h"

#include <cmath>
#include <cstring>

namespace sputnik::testing {

/// Rows of a prefill step: some tiles of the kernel and a part of one; and a
/// part of a larger one.
static constexpr int64_t prefillRows = 35, morePrefillRows = 75;

const std::vector<int> kernelOptLevels = {3};
const std::vector<r1::Scheme> kernelBlockSchemes = {
    r1::Scheme::Q8, r1::Scheme::Q4, r1::Scheme::Q4Plain, r1::Scheme::FP8};
const std::vector<r1::Scheme> kernelExpertSchemes = {
    r1::Scheme::F32, r1::Scheme::BF16, r1::Scheme::FP8};

/// The chips whose kernels differ from those of the first; and that one with
/// two multiprocessors, whose blocks take tiles in turn.
std::vector<std::string> otherKernelTargets() { return {"sm_80", "sm_90a_2"}; }

bool KernelFixture::roundsActivations() { return true; }
bool KernelFixture::roundsAttention() { return true; }
bool KernelFixture::attendsInBytes() { return false; }
bool KernelFixture::roundsWeights() {
  return target() == "native" || target().starts_with("sm_90a");
}
bool KernelFixture::multipliesBytes() { return true; }

/// Rows 0..count-1, at most `together` in a step.
static std::vector<float> run(EmulatedGraph &graph, r1::PhaseKind kind,
                              std::vector<uint8_t> &weights, int64_t count,
                              uint64_t seed) {
  graph.reset(seed);
  const llvm::StringRef phase = r1::stringifyPhaseKind(kind);
  const int64_t together = graph.maxRows(phase);
  std::vector<float> result(static_cast<size_t>(count * graph.vocabulary()),
                            std::nanf(""));
  for (int64_t row = 0; row < count; row += together) {
    StepRows rows = StepRows::sequence(std::min(together, count - row), row);
    for (int32_t &token : rows.tokens)
      token += static_cast<int32_t>(row);
    llvm::Error error = graph.run(phase, rows, weights,
                                  result.data() + row * graph.vocabulary());
    EXPECT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
  }
  return result;
}

void KernelFixture::check(const std::string &text, const Matrix &expected,
                          const Matrix &expectedPrefill, double tolerance,
                          double prefillTolerance) {
  mlir::OwningOpRef<mlir::ModuleOp> module = parse(text);
  ASSERT_TRUE(module);
  EmulatedGraph::Options options;
  options.scheme = scheme();
  options.prefillRows = prefillRows;
  if (llvm::StringRef chip = target(); chip != "native") {
    if (chip.consume_back("_2")) {
      options.processors = 2;
      options.prefillRows = morePrefillRows;
    }
    options.chip = chip.str();
  }
  auto graph = EmulatedGraph::create(*module, options);
  ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
  ASSERT_EQ((*graph)->vocabulary(), expected.columns);
  MemorySink sink((*graph)->weightBytes());
  llvm::Expected<ContentId> id = writeWeights(*module, *checkpoint, sink);
  ASSERT_TRUE(static_cast<bool>(id)) << toString(id.takeError());

  const auto same = [](const std::vector<float> &a,
                       const std::vector<float> &b) {
    return a.size() == b.size() &&
           std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  std::vector<float> decoded;
  const std::tuple<r1::PhaseKind, const Matrix *> phases[] = {
      {r1::PhaseKind::Decode, &expected},
      {r1::PhaseKind::Verify, &expected},
      {r1::PhaseKind::Prefill, &expectedPrefill}};
  for (auto [phase, wanted] : phases) {
    SCOPED_TRACE(r1::stringifyPhaseKind(phase).str());
    const std::vector<float> first =
        run(**graph, phase, sink.image, expected.rows, 1);
    expectNear(first, *wanted,
               phase == r1::PhaseKind::Prefill ? prefillTolerance : tolerance);
    if (phase == r1::PhaseKind::Decode) {
      decoded = first;
      continue;
    }
    EXPECT_TRUE(
        same(first, run(**graph, phase, sink.image, expected.rows, 1000)))
        << "another order of threads gives other bits";
    if (phase == r1::PhaseKind::Verify) {
      EXPECT_TRUE(same(first, decoded))
          << "verify gives other bits than decode";
    }
  }
}

} // namespace sputnik::testing
