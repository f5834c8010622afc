//===- FakeModel.cpp - A model without a compiler -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FakeModel.h"
#include "runtime/Clock.h"
#include "runtime/chat/ChatForm.h"
#include "runtime/tokenizer/TokenizerBlob.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <sched.h>
#include <string>
#include <vector>

namespace sputnik::test {

using namespace sputnik::abi;

FakeFaults fakeFaults;
FakeCounts fakeCounts;
float fakeLead = 16;

//===----------------------------------------------------------------------===//
// The rule
//===----------------------------------------------------------------------===//

static uint64_t prefixSum(std::span<const int32_t> tokens) {
  uint64_t sum = 0;
  for (size_t i = 0; i < tokens.size(); ++i)
    sum += (i + 1) * (static_cast<uint64_t>(tokens[i]) + 1);
  return sum;
}

static int32_t nextOf(uint64_t sum, size_t count) {
  if (count % 32 == 0)
    return fakeEos;
  if (count % 32 == 16)
    return fakeEndThink;
  return static_cast<int32_t>('a' + sum % 26);
}

static float logitOf(uint64_t sum, size_t count, int32_t id) {
  if (id >= fakeTokens)
    return 100;
  if (id == nextOf(sum, count))
    return fakeLead;
  const uint64_t mixed = (sum + static_cast<uint64_t>(id)) * 0x9e3779b97f4a7c15;
  return static_cast<float>(mixed >> 56) / 256.0f;
}

int32_t fakeNext(std::span<const int32_t> tokens) {
  return nextOf(prefixSum(tokens), tokens.size());
}

float fakeLogit(std::span<const int32_t> tokens, int32_t id) {
  return logitOf(prefixSum(tokens), tokens.size(), id);
}

//===----------------------------------------------------------------------===//
// The phases
//===----------------------------------------------------------------------===//

/// As generated code does it.
static void meet(Barrier *barrier, int64_t threads) {
  const uint32_t generation =
      __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) ==
      static_cast<uint32_t>(threads)) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&barrier->generation, 1, __ATOMIC_ACQ_REL);
    return;
  }
  for (int spins = 0;
       __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation;
       ++spins)
    if (spins > 4096)
      sched_yield();
}

static uint8_t weightAt(uint64_t at) {
  return static_cast<uint8_t>((at + 7) * 0x9e3779b97f4a7c15 >> 56);
}

static constexpr uint64_t stateRowBytes = 64, scratchBytes = 64,
                          sharedBytes = stateRowBytes * fakePrefillRows;

/// A cache entry is the token plus one, so that zero was never written. Those
/// of the draft head follow the model's.
static int32_t *entries(const Step *step, int64_t row) {
  return reinterpret_cast<int32_t *>(step->caches[step->slots[row]]);
}
static int32_t *headEntries(const Step *step, int64_t row) {
  return entries(step, row) + fakeContext;
}

/// What is known of a text: its prefixSum and length.
struct State {
  uint64_t sum;
  int64_t count;
};
static State &stateOf(const Step *step, int64_t row) {
  return *reinterpret_cast<State *>(step->arena +
                                    static_cast<uint64_t>(row) *
                                        stateRowBytes);
}

/// The sum of the text up to the row, and whether all of it is in the cache.
static State readCache(const Step *step, int64_t row, bool &valid) {
  const int32_t position = step->positions[row];
  State state = {0, position + 1};
  for (int32_t at = 0; at <= position; ++at) {
    const int32_t entry = entries(step, row)[at];
    valid &= entry != 0;
    state.sum += static_cast<uint64_t>(at + 1) * static_cast<uint64_t>(entry);
  }
  return state;
}

static void writeLogits(const Step *step, int64_t output, uint64_t *sums,
                        int64_t threads) {
  const int32_t row = step->outputs[output];
  const int32_t position = step->positions[row];
  bool valid = !fakeFaults.nan;
  const uint64_t sum = readCache(step, row, valid).sum;
  // Weights, arena and scratch have to be where they belong.
  for (uint64_t at = 0; at < fakeWeightBytes; at += 64)
    valid &= step->weights[at] == weightAt(at);
  for (int64_t thread = 0; thread < threads; ++thread)
    valid &= sums[thread] == static_cast<uint64_t>(thread) + 1;
  float *logits = step->logits + output * fakeVocabulary;
  for (int32_t id = 0; id < fakeVocabulary; ++id)
    logits[id] =
        valid ? logitOf(sum, static_cast<size_t>(position) + 1, id) : NAN;
}


static void runRows(const Step *step, int64_t thread, int64_t threads) {
  for (int64_t row = thread; row < step->rows; row += threads)
    entries(step, row)[step->positions[row]] = step->tokens[row] + 1;
  auto *scratch = reinterpret_cast<uint64_t *>(
      step->arena + sharedBytes + static_cast<uint64_t>(thread) * scratchBytes);
  *scratch = static_cast<uint64_t>(thread) + 1;
  meet(step->barrier, threads);
  for (int64_t row = thread; row < step->rows; row += threads) {
    bool valid = true;
    stateOf(step, row) = readCache(step, row, valid);
  }
  std::vector<uint64_t> sums;
  for (int64_t other = 0; other < threads; ++other)
    sums.push_back(*reinterpret_cast<uint64_t *>(step->arena + sharedBytes +
                                                 static_cast<uint64_t>(other) *
                                                     scratchBytes));
  for (int64_t output = thread; output < step->numOutputs; output += threads)
    writeLogits(step, output, sums.data(), threads);
}

static constexpr Region regions[] = {{"all", "decode", fakeWeightBytes},
                                     {"all", "verify", fakeWeightBytes},
                                     {"all", "prefill", fakeWeightBytes}};

/// The draft head; one thread does it all.
template <int FakeCounts::*Count>
static void runHead(const Step *step, int64_t thread, int64_t) {
  if (thread != 0)
    return;
  ++(fakeCounts.*Count);
  for (int64_t row = 0; row < step->rows; ++row)
    headEntries(step, row)[step->positions[row]] = step->tokens[row] + 1;
  int64_t output = 0;
  for (int64_t row = 0; row < step->rows; ++row) {
    const int32_t position = step->positions[row];
    State &state = stateOf(step, row);
    // The head has seen every token but the first.
    auto sum = static_cast<uint64_t>(entries(step, row)[0]);
    for (int32_t at = 1; at <= position; ++at)
      sum += static_cast<uint64_t>(at + 1) *
             static_cast<uint64_t>(headEntries(step, row)[at - 1]);
    bool known = state.count == position + 1 && state.sum == sum;
    ++state.count;
    state.sum += static_cast<uint64_t>(state.count) *
                 (static_cast<uint64_t>(step->tokens[row]) + 1);
    if (output == step->numOutputs || step->outputs[output] != row)
      continue;
    float *logits = step->logits + output++ * fakeVocabulary;
    known &= state.sum % 5 != 0;
    for (int32_t id = 0; id < fakeVocabulary; ++id)
      logits[id] =
          known ? logitOf(state.sum, static_cast<size_t>(state.count), id)
                : (id == '?' ? fakeLead : 0);
  }
}

template <int FakeCounts::*Count, uint32_t Region>
static void runPhase(const Step *step, int64_t thread, int64_t threads) {
  if (thread == 0)
    ++(fakeCounts.*Count);
  const uint64_t begin = rt::monotonicNanoseconds();
  runRows(step, thread, threads);
  if (step->profile) {
    ThreadProfile &profile = step->profile[thread];
    profile.times[profile.count++ & profile.mask] = {
        begin, rt::monotonicNanoseconds(), Region, kNoLayer};
  }
}

//===----------------------------------------------------------------------===//
// Weights and tokenizer
//===----------------------------------------------------------------------===//

static void fillRandom(uint8_t *weights, uint64_t begin, uint64_t end,
                       uint64_t) {
  for (uint64_t at = begin; at < end; ++at)
    weights[at] = weightAt(at);
}

/// Threads read half a page each time.
static constexpr WeightShare shares[] = {{0, 1, 0, 1, fakeWeightBytes, 2048}};

static uint64_t probeRead(const uint8_t *data, uint64_t bytes) {
  uint64_t sum = 0;
  for (uint64_t at = 0; at + 8 <= bytes; at += 8)
    sum += *reinterpret_cast<const uint64_t *>(data + at);
  return sum;
}

static uint64_t probeDot(uint64_t iterations) {
  volatile double sum = 0;
  for (uint64_t i = 0; i < iterations; ++i)
    sum = sum + 1.0;
  return iterations;
}

static constexpr uint8_t imageId[kImageIdBytes] = {1, 2, 3, 4};

/// The embedded image.
struct alignas(4096) EmbeddedImage {
  ImageHeader header;
  uint8_t rest[kImageHeaderBytes - sizeof(ImageHeader)];
  uint8_t weights[fakeWeightBytes];
};
static constexpr EmbeddedImage makeImage() {
  EmbeddedImage image = {};
  for (size_t i = 0; i < sizeof(kImageMagic); ++i)
    image.header.magic[i] = kImageMagic[i];
  image.header.weightBytes = fakeWeightBytes;
  for (size_t i = 0; i < kImageIdBytes; ++i)
    image.header.id[i] = imageId[i];
  for (uint64_t at = 0; at < fakeWeightBytes; ++at)
    image.weights[at] =
        static_cast<uint8_t>((at + 7) * 0x9e3779b97f4a7c15 >> 56);
  return image;
}
static constexpr EmbeddedImage embeddedImage = makeImage();

/// Lays out a tokenizer of bytes and control tokens.
class BlobWriter {
public:
  BlobWriter() {
    using namespace rt;
    bytes.resize(alignedSize(sizeof(TokenizerBlobHeader)));
    std::vector<uint32_t> offsets = {0};
    std::string text;
    std::vector<uint8_t> flags;
    for (int id = 0; id < 256; ++id) {
      text += static_cast<char>(id);
      offsets.push_back(static_cast<uint32_t>(text.size()));
      flags.push_back(TokenPresent);
      header.byteIds[id] = static_cast<uint32_t>(id);
    }
    nodes.push_back({0, 0, noToken});
    const std::string_view controls[] = {
        "<｜begin▁of▁sentence｜>", endMarker,   userMarker,
        assistantMarker,           thinkMarker, endThinkMarker};
    uint32_t id = fakeBos;
    for (std::string_view control : controls) {
      text += control;
      offsets.push_back(static_cast<uint32_t>(text.size()));
      const bool special = id == fakeBos || id == fakeEos;
      flags.push_back(TokenPresent | TokenAdded | (special ? TokenSpecial : 0));
      addToTrie(control, id++);
    }
    layOutTrie();

    std::memcpy(header.magic, tokenizerBlobMagic, sizeof(header.magic));
    header.version = tokenizerBlobVersion;
    header.headerBytes = sizeof(TokenizerBlobHeader);
    header.vocabSize = fakeTokens;
    header.preTokenizer = static_cast<uint32_t>(PreTokenizerKind::SingleDigits);
    header.flags = AddBos;
    header.chatForm = ChatForm::currentDistill;
    header.bosId = fakeBos;
    header.padId = -1;
    header.pieceProbes = header.pairProbes = 1;
    header.rawTrie = 0;
    header.normalizedTrie = noToken;
    header.tokenOffsets = add(offsets);
    header.tokenBytes = add(std::vector<char>(text.begin(), text.end()));
    header.tokenFlags = add(flags);
    header.pieceSlots = add(std::vector<PieceSlot>{{0, noToken}});
    header.pairSlots = add(std::vector<PairSlot>{{noToken, 0, 0, 0}});
    header.trieNodes = add(nodes);
    header.trieEdges = add(edges);
    header.eosIds = add(std::vector<int32_t>{fakeEos});
    header.chatNote = add(std::vector<char>());
    header.totalBytes = bytes.size();
    std::memcpy(bytes.data(), &header, sizeof(header));
    blob = static_cast<uint8_t *>(std::aligned_alloc(
        rt::tokenizerBlobAlignment, alignedSize(bytes.size())));
    std::memcpy(blob, bytes.data(), bytes.size());
  }

  uint8_t *blob;
  uint64_t size() const { return bytes.size(); }

private:
  static size_t alignedSize(size_t size) {
    return (size + rt::tokenizerBlobAlignment - 1) /
           rt::tokenizerBlobAlignment * rt::tokenizerBlobAlignment;
  }

  template <typename T> rt::BlobSection add(const std::vector<T> &elements) {
    const rt::BlobSection section = {bytes.size(), elements.size()};
    const auto *data = reinterpret_cast<const uint8_t *>(elements.data());
    bytes.insert(bytes.end(), data, data + elements.size() * sizeof(T));
    bytes.resize(alignedSize(bytes.size()));
    return section;
  }

  void addToTrie(std::string_view text, uint32_t id) {
    uint32_t at = 0;
    for (char c : text) {
      const auto label = static_cast<uint8_t>(c);
      uint32_t target = 0;
      for (const auto &[from, edge] : allEdges)
        if (from == at && edge.label == label)
          target = edge.target;
      if (target == 0) {
        target = static_cast<uint32_t>(nodes.size());
        nodes.push_back({0, 0, rt::noToken});
        allEdges.push_back({at, {label, target}});
      }
      at = target;
    }
    nodes[at].id = id;
  }

  void layOutTrie() {
    for (uint32_t at = 0; at < nodes.size(); ++at) {
      nodes[at].firstEdge = static_cast<uint32_t>(edges.size());
      for (uint32_t label = 0; label < 256; ++label)
        for (const auto &[from, edge] : allEdges)
          if (from == at && edge.label == label)
            edges.push_back(edge);
      nodes[at].edgeCount =
          static_cast<uint32_t>(edges.size()) - nodes[at].firstEdge;
    }
  }

  rt::TokenizerBlobHeader header = {};
  std::vector<uint8_t> bytes;
  std::vector<rt::TrieNode> nodes;
  std::vector<rt::TrieEdge> edges;
  std::vector<std::pair<uint32_t, rt::TrieEdge>> allEdges;
};

static constexpr char info[] =
    R"({"sputnik":{"version":"0.1.0"},"model":{"name":"fake",)"
    R"("architecture":"fake","source":"test/unit/runtime","parameters":8192},)"
    R"("target":{"cpu":"any"},"quantization":{"scheme":"none"},)"
    R"("compile":{},"generation_config":{"temperature":0.6,"top_p":0.95,)"
    R"("top_k":0,"eos_token_ids":[257]},"licence_notes":["None."]})";

static Model makeModel() {
  static const BlobWriter tokenizer;
  Model model = {};
  model.version = kVersion;
  model.weightSource = kEmbedded;
  std::memcpy(model.imageId, imageId, sizeof(imageId));
  model.decode = {runPhase<&FakeCounts::decode, 0>, 1, sharedBytes, scratchBytes};
  model.verify = {runPhase<&FakeCounts::verify, 1>, 8, sharedBytes, scratchBytes};
  model.prefill = {runPhase<&FakeCounts::prefill, 2>, fakePrefillRows,
                   sharedBytes, scratchBytes};
  model.vocabSize = fakeVocabulary;
  model.maxContext = fakeContext;
  model.cacheBytesPerToken = sizeof(int32_t);
  model.cacheBytes = 2 * model.cacheBytesPerToken * fakeContext;
  model.weightBytes = fakeWeightBytes;
  model.weightBytesPerToken = fakeWeightBytes;
  model.macsPerToken = 1000;
  model.headMacs = 100;
  model.fillRandom = fillRandom;
  model.seed = 1;
  model.probeRead = probeRead;
  model.probeDot = probeDot;
  model.tokenizer = tokenizer.blob;
  model.tokenizerBytes = tokenizer.size();
  model.info = info;
  model.infoBytes = sizeof(info) - 1;
  model.regions = regions;
  model.regionCount = std::size(regions);
  model.shares = shares;
  model.shareCount = std::size(shares);
  return model;
}

Model fakeModelWithHead() {
  Model model = makeModel();
  model.draftVerify = {runHead<&FakeCounts::draftVerify>, 8, sharedBytes,
                       scratchBytes};
  model.draftPrefill = {runHead<&FakeCounts::draftPrefill>, fakePrefillRows,
                        sharedBytes, scratchBytes};
  model.stateRowBytes = stateRowBytes;
  return model;
}

Model fakeModelWith(WeightSource source) {
  Model model = makeModel();
  model.weightSource = source;
  return model;
}

} // namespace sputnik::test

extern "C" const sputnik::abi::Model sputnik_model = sputnik::test::makeModel();

extern "C" const uint8_t *sputnik_image_address() {
  return reinterpret_cast<const uint8_t *>(&sputnik::test::embeddedImage);
}
