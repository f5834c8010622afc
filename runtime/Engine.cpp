//===- Engine.cpp - Runs the phases of a model ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Engine.h"
#include "runtime/Cpus.h"
#include "runtime/Executable.h"
#include "runtime/Memory.h"
#include "runtime/TilePermission.h"

#include <algorithm>
#include <cstring>

namespace sputnik::rt {

Status Engine::openWeights() {
  const abi::Model &model = program.model;
  // A device makes its own random weights.
  if (model.accelerator && model.weightSource == abi::kRandom)
    return {};
  Result<Image> opened = Image::open(model, program.embeddedImage,
                                     executablePath(), *threadPool);
  if (!opened)
    return opened.error();
  image = std::move(*opened);
  if (model.shareCount == 0 || threadPool->nodes() == 1)
    return {};
  if (model.weightSource != abi::kRandom) {
    if (model.weightBytes > availableMemory())
      return {};
    if (Status status = image.copyToNodes(model, *threadPool); !status)
      return status;
  }
  placedNodes = threadPool->nodes();
  return {};
}

Result<std::unique_ptr<Engine>> Engine::create(const Program &program,
                                               const Resources &resources,
                                               int64_t slots) {
  const abi::Model &model = program.model;
  if (model.version != abi::kVersion)
    return SPUTNIK_ERROR("the model was compiled for version %u of the "
                         "runtime, this is version %u",
                         model.version, abi::kVersion);
  if (Status status = requestTileRegisters(model); !status)
    return status.error();
  std::unique_ptr<Engine> engine(new Engine(program));

  Cpus cpus = Cpus::available();
  if (!resources.numa)
    cpus.ignoreNodes();
  int64_t threads = resources.threads;
  if (threads == 0)
    threads = std::min(cpus.defaultThreads(), ThreadPool::maxThreads);
  Result<std::unique_ptr<ThreadPool>> pool = ThreadPool::create(threads, cpus);
  if (!pool)
    return pool.error();
  engine->threadPool = std::move(*pool);

  uint64_t arenaBytes = 0;
  for (const abi::Phase *phase :
       {&model.decode, &model.verify, &model.prefill, &model.draftVerify,
        &model.draftPrefill}) {
    engine->rowLimit = std::max(engine->rowLimit, phase->maxRows);
    uint64_t bytes;
    if (__builtin_mul_overflow(phase->scratchBytes,
                               static_cast<uint64_t>(threads), &bytes) ||
        __builtin_add_overflow(bytes, phase->arenaBytes, &bytes))
      return SPUTNIK_ERROR("the activations of %lld threads do not fit the "
                           "address space",
                           static_cast<long long>(threads));
    arenaBytes = std::max(arenaBytes, bytes);
  }
  Result<Mapping> arena = Mapping::anonymous(arenaBytes, "the activations");
  if (!arena)
    return arena.error();
  preferLargePages(arena->data(), arena->size());
  engine->arena = std::move(*arena);

  Result<KvCache> cache = KvCache::create(model, slots);
  if (!cache)
    return cache.error();
  engine->kvCache = std::move(*cache);

  if (Status status = engine->openWeights(); !status)
    return status.error();
  if (model.accelerator)
    if (const char *message = model.accelerator->open(
            &model, engine->image.weights(), slots, &engine->device))
      return Error{message};
  return engine;
}

Engine::~Engine() {
  if (device)
    program.model.accelerator->close(device);
}

const char *Engine::deviceName() const {
  return device ? program.model.accelerator->name(device) : nullptr;
}

Result<double> Engine::measureDevice(abi::DeviceLimit limit) {
  double perSecond = 0;
  if (const char *message =
          program.model.accelerator->measure(device, limit, &perSecond))
    return Error{message};
  return perSecond;
}

/// What an accelerator's function gives.
static Status toStatus(const char *message) {
  if (message)
    return Error{message};
  return {};
}

Status Engine::forward(const Rows &rows) {
  const abi::Model &model = program.model;
  const auto count = static_cast<int64_t>(rows.tokens.size());
  return run(abi::kModelStep,
             count <= model.decode.maxRows   ? model.decode
             : count <= model.verify.maxRows ? model.verify
                                             : model.prefill,
             rows);
}

Status Engine::draft(const Rows &rows) {
  const abi::Model &model = program.model;
  const auto count = static_cast<int64_t>(rows.tokens.size());
  return run(abi::kDraftStep,
             count <= model.draftVerify.maxRows ? model.draftVerify
                                                : model.draftPrefill,
             rows);
}

Status Engine::moveState(int64_t from, int64_t to) {
  if (device)
    return toStatus(program.model.accelerator->moveState(device, from, to));
  const uint64_t bytes = program.model.stateRowBytes;
  std::memmove(arena.data() + static_cast<uint64_t>(to) * bytes,
               arena.data() + static_cast<uint64_t>(from) * bytes, bytes);
  return {};
}

Status Engine::checkRow(int32_t token, int32_t slot, int32_t position) const {
  const abi::Model &model = program.model;
  if (token < 0 || token >= model.vocabSize)
    return SPUTNIK_ERROR("token id %d is outside the model's vocabulary of "
                         "%lld",
                         token, static_cast<long long>(model.vocabSize));
  if (slot < 0 || slot >= kvCache.slots())
    return SPUTNIK_ERROR("slot %d; there are %lld", slot,
                         static_cast<long long>(kvCache.slots()));
  if (position < 0 || position >= model.maxContext)
    return SPUTNIK_ERROR("position %d is outside the context of %lld tokens",
                         position, static_cast<long long>(model.maxContext));
  return {};
}

Status Engine::beginDecoding(const abi::DecodeStart &start) {
  if (Status status = checkRow(start.token, start.slot, start.position);
      !status)
    return status;
  return toStatus(program.model.accelerator->beginDecoding(device, &start));
}

Status Engine::decode() {
  return toStatus(program.model.accelerator->decode(device));
}

Result<abi::SampledToken> Engine::nextToken() {
  abi::SampledToken token;
  if (const char *message =
          program.model.accelerator->nextToken(device, &token))
    return Error{message};
  return token;
}

Status Engine::endDecoding() {
  return toStatus(program.model.accelerator->endDecoding(device));
}

Status Engine::run(abi::StepKind kind, const abi::Phase &phase,
                   const Rows &rows) {
  const abi::Model &model = program.model;
  const auto count = static_cast<int64_t>(rows.tokens.size());
  if (count < 1 || count > rowLimit)
    return SPUTNIK_ERROR("a step of %lld rows; it takes 1 to %lld",
                         static_cast<long long>(count),
                         static_cast<long long>(rowLimit));
  for (size_t row = 0; row < rows.tokens.size(); ++row)
    if (Status status = checkRow(rows.tokens[row], rows.slots[row],
                                 rows.positions[row]);
        !status)
      return status;
  const abi::Step step = {
      .tokens = rows.tokens.data(),
      .slots = rows.slots.data(),
      .positions = rows.positions.data(),
      .outputs = rows.outputs.data(),
      .logits = rows.logits,
      .rows = count,
      .numOutputs = static_cast<int64_t>(rows.outputs.size()),
      .weights = image.weights(),
      .arena = arena.data(),
      .caches = kvCache.pointers(),
      .barrier = &barrier,
      .profile = profile,
      .observed = observed,
  };
  if (device)
    return toStatus(model.accelerator->step(device, kind, &step));
  threadPool->parallel([&](int64_t thread, int64_t threads) {
    phase.run(&step, thread, threads);
  });
  return {};
}

} // namespace sputnik::rt
