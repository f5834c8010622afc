//===- CudaSteps.cpp - Steps of a model on a GPU --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A phase is a list of launches. Of steps of few rows, which take little time, each
// kind becomes a graph when it is first made, so that the host launches once.
//
//===----------------------------------------------------------------------===//
#include "runtime/gpu/CudaDevice.h"

#include <utility>

namespace sputnik::rt::cuda {

uint64_t CudaDevice::logitBytes(int64_t rows) const {
  return static_cast<uint64_t>(rows * model.vocabSize) * sizeof(float);
}

void CudaDevice::dropGraphs() {
  for (Phase *phase : {&decodePhase, &verify, &draftVerify})
    for (const auto &[shape, graph] : std::exchange(phase->graphs, {}))
      driver.graphExecDestroy(graph);
  if (decodeGraph)
    driver.graphExecDestroy(std::exchange(decodeGraph, nullptr));
}

Status CudaDevice::growLogits(int64_t rows) {
  const uint64_t bytes = logitBytes(rows);
  if (bytes <= logits.bytes)
    return {};
  // Graphs hold the address.
  dropGraphs();
  if (logits.address)
    driver.memFree(std::exchange(logits, {}).address);
  return allocate(logits, bytes);
}

Status CudaDevice::launch(const Phase &phase, uint32_t rows,
                          uint32_t outputs) {
  for (uint64_t i = 0; i < phase.plan->count; ++i)
    if (Status status = launchOne(phase, i, rows, outputs); !status)
      return status;
  return {};
}

Status CudaDevice::launchOne(const Phase &phase, uint64_t number, uint32_t rows,
                             uint32_t outputs) {
  const abi::KernelLaunch &one = phase.plan->launches[number];
  const uint32_t count = rowsOf(one, rows, outputs);
  if (count == 0)
    return {};
  Address pointers[] = {indices[0].address, indices[1].address,
                        indices[2].address, indices[3].address,
                        logits.address,     weights.address,
                        arena.address,      cachePointers.address,
                        sampling.address};
  uint32_t layer = one.layer;
  void *arguments[] = {&pointers[0], &pointers[1], &pointers[2], &pointers[3],
                       &pointers[4], &pointers[5], &pointers[6], &pointers[7],
                       &pointers[8], &rows,        &outputs,     &layer};
  LaunchAttribute early = {kProgrammaticSerialization, 0, {1}};
  const bool mayStartEarly =
      image->dependent && driver.version >= kDependentLaunchVersion;
  const LaunchShape shape = {one.blocks,
                             (count + one.rowTile - 1) / one.rowTile,
                             1,
                             one.threads,
                             1,
                             1,
                             one.sharedBytes,
                             stream,
                             &early,
                             mayStartEarly ? 1u : 0u};
  return check(
      driver.launchEx(&shape, phase.functions[number], arguments, nullptr),
      one.kernel);
}

Status CudaDevice::capture(GraphExec &exec,
                           std::initializer_list<const Phase *> phases,
                           uint32_t rows, uint32_t outputs) {
  const char *what = "the graph of a step";
  if (Status status =
          check(driver.captureBegin(stream, kCaptureThreadLocal), what);
      !status)
    return status;
  Status launched;
  for (const Phase *phase : phases)
    if (launched)
      launched = launch(*phase, rows, outputs);
  Graph graph = nullptr;
  const Code ended = driver.captureEnd(stream, &graph);
  if (!launched)
    return launched;
  if (Status status = check(ended, what); !status)
    return status;
  const Code code = driver.graphInstantiate(&exec, graph, 0);
  driver.graphDestroy(graph);
  return check(code, what);
}

CudaDevice::Phase &CudaDevice::phaseOf(abi::StepKind kind, int64_t rows) {
  if (kind == abi::kDraftStep)
    return rows <= draftVerify.maxRows ? draftVerify : draftPrefill;
  return rows <= decodePhase.maxRows ? decodePhase
         : rows <= verify.maxRows    ? verify
                                     : prefill;
}

Status CudaDevice::launchGraph(Phase &phase, uint32_t rows, uint32_t outputs) {
  GraphExec &graph = phase.graphs[{rows, outputs}];
  if (!graph)
    if (Status status = capture(graph, {&phase}, rows, outputs); !status)
      return status;
  return check(driver.graphLaunch(graph, stream), "a step");
}

Status CudaDevice::step(abi::StepKind kind, const abi::Step &step) {
  Phase &phase = phaseOf(kind, step.rows);
  const auto rows = static_cast<uint32_t>(step.rows);
  const auto outputs = static_cast<uint32_t>(step.numOutputs);
  if (Status status = growLogits(step.numOutputs); !status)
    return status;
  const std::pair<const int32_t *, uint32_t> sources[kIndices] = {
      {step.tokens, rows},
      {step.slots, rows},
      {step.positions, rows},
      {step.outputs, outputs}};
  for (int i = 0; i < kIndices; ++i)
    if (sources[i].second)
      if (Status status = check(
              driver.copyToDevice(indices[i].address, sources[i].first,
                                  sources[i].second * sizeof(int32_t), stream),
              "a step");
          !status)
        return status;
  const Status ran =
      step.profile ? launchNoting(phase, rows, outputs, *step.profile)
      : step.rows <= verify.maxRows ? launchGraph(phase, rows, outputs)
                                    : launch(phase, rows, outputs);
  if (!ran)
    return ran;
  if (outputs)
    if (Status status = check(
            driver.copyToHost(step.logits, logits.address,
                              logitBytes(step.numOutputs), stream),
            "a step");
        !status)
      return status;
  return check(driver.streamSynchronize(stream), "a step");
}

Status CudaDevice::moveState(int64_t from, int64_t to) {
  if (from == to)
    return {};
  const auto stateOf = [&](int64_t row) {
    return arena.address + image->stateOffset +
           static_cast<uint64_t>(row) * model.stateRowBytes;
  };
  return check(driver.copyOnDevice(stateOf(to), stateOf(from),
                                   model.stateRowBytes, stream),
               "the state of a row");
}

} // namespace sputnik::rt::cuda
