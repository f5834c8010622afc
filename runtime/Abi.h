//===- Abi.h - What generated code and the runtime agree on -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The only header that both sides include: `codegen/` emits these structures as
// data and functions of these types, `runtime/` reads and calls them. Plain C
// layout, 64-bit little-endian targets.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_RUNTIME_ABI_H
#define SPUTNIK_RUNTIME_ABI_H

#include <cstddef>
#include <cstdint>

namespace sputnik::abi {

/// Bumped whenever a structure below changes.
inline constexpr uint32_t kVersion = 7;

/// First bytes of a weight image, followed by the identity of the executable
/// that it belongs to. Weights start kImageHeaderBytes into the image.
inline constexpr char kImageMagic[8] = {'S', 'P', 'U', 'T', 'N', 'I', 'K', 'W'};
inline constexpr uint64_t kImageHeaderBytes = 4096;
inline constexpr size_t kImageIdBytes = 32;

/// The header of a weight image (embedded or beside the executable).
struct ImageHeader {
  char magic[8];            ///< kImageMagic.
  uint64_t weightBytes;     ///< Bytes that follow the header.
  uint8_t id[kImageIdBytes]; ///< Equals Model::imageId.
};

/// A sense-counting spin barrier that generated code waits on between regions.
/// All threads of a step share one; it must be zero before the first step and
/// needs no reset between steps that use the same number of threads.
struct alignas(64) Barrier {
  uint32_t arrived;
  uint8_t pad0[60];
  uint32_t generation;
  uint8_t pad1[60];
};

/// RegionTime::layer of a region that is in no layer.
inline constexpr uint32_t kNoLayer = UINT32_MAX;

/// When one thread was in one region.
struct RegionTime {
  uint64_t begin, end; ///< Nanoseconds of CLOCK_MONOTONIC.
  uint32_t region;     ///< Index into Model::regions.
  uint32_t layer;      ///< Index of the layer, or kNoLayer.
};

/// Where one thread notes the times of regions: a ring.
struct alignas(64) ThreadProfile {
  RegionTime *times; ///< [mask + 1]
  uint64_t mask;     ///< A power of two less one.
  uint64_t count;    ///< Noted so far; the next goes to times[count & mask].
};

/// The arguments of one call of a phase, the same for every thread.
struct Step {
  const int32_t *tokens;    ///< [rows] token ids, each < Model::vocabSize.
  const int32_t *slots;     ///< [rows] conversation slot of each row.
  const int32_t *positions; ///< [rows] position in that slot's cache.
  const int32_t *outputs;   ///< [numOutputs] rows whose logits are wanted, ascending.
  float *logits;            ///< [numOutputs, Model::vocabSize], written.
  int64_t rows;             ///< At most Phase::maxRows, at least 1.
  int64_t numOutputs;       ///< At most rows; may be 0.
  const uint8_t *weights;   ///< First byte of the weights, 64-byte aligned.
  uint8_t *arena;           ///< Phase::arenaBytes + threads * Phase::scratchBytes, 64-byte aligned.
  uint8_t *const *caches;   ///< Per slot, Model::cacheBytes of zero-filled memory, 64-byte aligned.
  Barrier *barrier;
  ThreadProfile *profile; ///< [threads], or null. Used by code compiled to note times.
  uint8_t *observed; ///< Model::observedBytes of f64 numbers, or null. Added to by code compiled to observe.
};

/// One phase of @forward: entered by every thread with thread = 0..threads-1;
/// returns when that thread's work is done. The step is finished when all
/// threads have returned.
using PhaseFunction = void (*)(const Step *step, int64_t thread, int64_t threads);

/// A compiled phase.
struct Phase {
  PhaseFunction run;
  int64_t maxRows;       ///< Rows a call may carry.
  uint64_t arenaBytes;   ///< Shared activations.
  uint64_t scratchBytes; ///< For each thread, after the shared part.
};

/// A region of a phase, or one of its kernels where that is more than one.
struct Region {
  const char *name;     ///< As in the IR; no quotes or control characters.
  const char *phase;
  uint64_t weightBytes; ///< What one run for one row reads of weights.
  uint64_t macs;        ///< Multiply-adds of a row with weights.
  /// For each position that a row attends to: bytes of the cache, multiply-adds.
  uint64_t positionBytes, positionMacs;
  uint64_t perOutput;   ///< Whether only rows in Step::outputs count.
};

/// How threads share a matrix: each layer is `parts` parts one after the other,
/// of each of which thread t of T reads, in decode, the units from n * t / T to
/// n * (t + 1) / T, where n is how many there are. Parts are experts, of which a
/// step reads some; their bounds may be a unit off, so that threads have equal
/// work.
struct WeightShare {
  uint64_t offset;      ///< Of the first layer in the weights.
  uint64_t layers;
  uint64_t layerStride; ///< Bytes from one layer to the next.
  uint64_t parts;
  uint64_t partBytes;
  uint64_t unitBytes;   ///< The last unit of a part may be short.
};

/// One launch of a kernel on a GPU: a grid of `blocks` by tiles of rows. The
/// kernel's arguments are tokens, slots, positions, outputs, logits, weights,
/// arena and caches, as in Step but in the GPU's memory, a Sampling, and as 32-bit
/// numbers rows, numOutputs and `layer`.
struct KernelLaunch {
  const char *kernel;
  uint32_t blocks;
  uint32_t threads;     ///< Of a block.
  uint32_t rowTile;     ///< Rows of a tile.
  uint32_t perOutput;   ///< Whether rows are counted by numOutputs, not rows.
  uint32_t sharedBytes; ///< Of a block.
  uint32_t layer;       ///< Or kNoLayer.
  uint32_t region;      ///< Index into Model::regions; void in KernelImage::sample.
};

/// The launches of one phase, one after the other.
struct KernelPhase {
  const KernelLaunch *launches;
  uint64_t count;
};

/// How the weights of tokens are rounded where one is sampled: that of the largest
/// logit, and the distance over the temperature from which on nothing is left.
inline constexpr double kLargestWeight = 0x1p40;
inline constexpr double kLargestDistance = 29;
/// Logits that there may be for sums of weights to fit 64 bits with a sign.
inline constexpr int64_t kMaxLogits = 1 << 22;

enum SampleStatus : uint32_t {
  kSampled = 0,
  kNotANumber = 1, ///< The logit of SampledToken::id.
  kInfinite = 2,   ///< The largest logit.
  kMinusInfinite = 3,
};

/// What a GPU tells of a token that it has sampled.
struct SampledToken {
  uint64_t random; ///< The state of the random numbers after it.
  int32_t id;
  uint32_t status; ///< SampleStatus. What follows if it is not kSampled is void.
  uint64_t number; ///< Written last: 1 for the first token, 2 for the next.
};

/// Steps that a GPU may be ahead of the host.
inline constexpr int64_t kMaxStepsAhead = 64;

/// How a GPU samples: the sampler's options and state, in the GPU's memory, read
/// and written by kernels. Options as in rt::SamplingOptions.
struct Sampling {
  double temperature, topP;
  int64_t topK;
  int64_t idCount; ///< At most Model::vocabSize.
  uint64_t random; ///< State of rt::Random.
  uint64_t steps;  ///< Tokens sampled.
  SampledToken *ring; ///< [ringMask + 1], in memory that the host sees.
  uint64_t ringMask;  ///< A power of two less one.
};

/// Kernels that every image has beside those of the phases, by name. Their
/// blocks have kProbeThreads threads.
inline constexpr uint32_t kProbeThreads = 256;
/// void (u8 *weights, u64 bytes, u64 seed): writes what Model::fillRandom does,
/// kFillBytes a block, but nothing at `bytes` and after, a multiple of 16.
inline constexpr char kFillKernel[] = "sputnik_fill_random";
inline constexpr uint64_t kFillBytes = 16 << 10;
/// void (const u8 *data, u64 bytes, u32 *kept): each block reads its own
/// `bytes`, a multiple of kReadBytes, of those that follow one another in data.
/// The result only keeps the reads alive.
inline constexpr char kReadKernel[] = "sputnik_probe_read";
inline constexpr uint64_t kReadBytes = 32 << 10;
/// void (u64 iterations, f32 *kept): multiplies on the tensor cores, with
/// operands in registers, as prefill in bf16 does.
inline constexpr char kDotKernel[] = "sputnik_probe_dot";

/// The kernels of all phases for one chip.
struct KernelImage {
  const char *chip;    ///< Such as sm_90a.
  uint32_t capability; ///< 10 * major + minor.
  uint32_t onlyThis;   ///< Whether it runs on that chip alone, not on later ones.
  /// Whether kernels wait themselves for the one before, which they may then
  /// be started early for.
  uint64_t dependent;
  const char *ptx;     ///< Ends with a zero.
  const uint8_t *cubin; ///< Machine code for the chip, an ELF file; or null.
  uint64_t arenaBytes; ///< Zero-filled before the first step, 64-byte aligned.
  uint64_t stateOffset; ///< Where in the arena states lie, see Model::draftVerify.
  uint64_t dotMacs;    ///< Multiply-adds of a block of kDotKernel for each iteration.
  KernelPhase decode, verify, prefill;
  KernelPhase draftVerify, draftPrefill; ///< Empty without a draft head.
  /// Samples after a step of one row: sets the token of the next and moves its
  /// position on.
  KernelPhase sample;
};

/// Where a GPU begins to decode by itself.
struct DecodeStart {
  int32_t token; ///< The first that is fed.
  int32_t slot;
  int32_t position; ///< Of that token.
  /// Options and random numbers; the rest is the GPU's.
  Sampling sampling;
};

struct Model;

/// What a step runs.
enum StepKind : uint32_t {
  kModelStep,
  kDraftStep, ///< The draft head, see Model::draftVerify.
};

/// What a device can do at most, as code that was made for it measures it.
enum DeviceLimit : uint32_t {
  kReadLimit, ///< Bytes read from memory in a second.
  kCopyLimit, ///< Bytes read and written in a second, while memory is copied.
  kDotLimit,  ///< Operations of the tensor cores, two for each multiply-add.
  kLaunchLimit, ///< Kernels that do nothing, each between two noted times.
};

/// What runs steps where the model has kernels: functions that give an error
/// message, or null, which lives until the next call.
struct Accelerator {
  /// Takes `weights` (Model::weightBytes) to the device, or if they are random
  /// makes them there and expects null; makes caches of slots.
  const char *(*open)(const Model *model, const uint8_t *weights,
                      int64_t slots, void **device);
  /// Runs the phase of that kind that takes so many rows. Of the step, what lies
  /// in the host's memory is used: tokens to numOutputs, and the profile of one
  /// thread, in which the times of kernels are noted.
  const char *(*step)(void *device, StepKind kind, const Step *step);
  /// Copies the state of row `from` to row `to`, as the last step left them.
  const char *(*moveState)(void *device, int64_t from, int64_t to);
  /// From now on steps of one row feed the token that the one before has sampled.
  /// No other step may be run until `endDecoding`.
  const char *(*beginDecoding)(void *device, const DecodeStart *start);
  /// Starts one such step and does not wait for it. At most kMaxStepsAhead are
  /// under way.
  const char *(*decode)(void *device);
  /// Waits for the token of the oldest step under way.
  const char *(*nextToken)(void *device, SampledToken *token);
  /// Waits for the steps under way and drops their tokens.
  const char *(*endDecoding)(void *device);
  /// Measures a limit, in `perSecond`.
  const char *(*measure)(void *device, DeviceLimit limit, double *perSecond);
  /// What the device calls itself, as long as it is open.
  const char *(*name)(void *device);
  void (*close)(void *device);
};

/// Where the weights come from at start.
enum WeightSource : uint32_t { kEmbedded = 0, kBeside = 1, kRandom = 2 };

/// A model as the compiler wrote it: the object file defines
/// `extern "C" const Model sputnik_model`.
struct Model {
  uint32_t version; ///< kVersion.
  uint32_t weightSource;
  uint8_t imageId[kImageIdBytes];
  /// decode: maxRows 1; verify: maxRows 8; prefill: many. Rows of decode and
  /// verify are computed bit-identically.
  Phase decode, verify, prefill;
  int64_t vocabSize;       ///< Rows of the output head.
  int64_t maxContext;      ///< Positions a slot's cache holds.
  uint64_t cacheBytes;     ///< Virtual size of one slot's cache, all positions.
  uint64_t cacheBytesPerToken;
  uint64_t weightBytes; ///< Size of the packed weights, a multiple of 64.
  uint64_t weightBytesPerToken; ///< Weight bytes one decode step reads.
  uint64_t macsPerToken;        ///< Multiply-adds with weights per token, head included.
  uint64_t headMacs;            ///< The head's share: only rows in `outputs` pay it.
  /// For WeightSource kRandom: writes bytes [begin, end) of the weights, a
  /// multiple of 64 each, from the seed. Any split gives the same bytes.
  void (*fillRandom)(uint8_t *weights, uint64_t begin, uint64_t end, uint64_t seed);
  uint64_t seed;
  /// Reads bytes (a multiple of 4096) once with the widest loads; the result
  /// only keeps the reads alive.
  uint64_t (*probeRead)(const uint8_t *data, uint64_t bytes);
  /// Runs the dot primitive of prefill on registers only; returns how many
  /// multiply-adds it did, about `iterations` times a constant.
  uint64_t (*probeDot)(uint64_t iterations);
  const uint8_t *tokenizer; ///< Tokenizer blob, see tokenizer/TokenizerBlob.h.
  uint64_t tokenizerBytes;
  const char *info; ///< JSON: what the executable was made from, how, for what.
  uint64_t infoBytes;
  /// [regionCount]; none unless regions note their times, which kernels of a
  /// GPU always can.
  const Region *regions;
  uint64_t regionCount;
  /// Phases of a draft head, maxRows as verify and prefill, or 0 where the model
  /// has none. A row is a token with the state that the phases of
  /// the model left the row of the token before in, and the position of that;
  /// its logits tell the token after it. States lie in the arena from its
  /// first byte on, one each stateRowBytes, in the order of the rows; a draft
  /// leaves its own in their place.
  Phase draftVerify, draftPrefill;
  uint64_t stateRowBytes;
  /// Null for a CPU, whose phases have code to run; else they have none.
  const Accelerator *accelerator;
  const KernelImage *images; ///< [imageCount]
  uint64_t imageCount;
  uint64_t observedBytes; ///< Of Step::observed; 0 if the code observes nothing.
  const WeightShare *shares; ///< [shareCount], of matrices that do not overlap.
  uint64_t shareCount;
};

} // namespace sputnik::abi

extern "C" const sputnik::abi::Model sputnik_model;

/// For NVIDIA GPUs. Linked only into executables whose model names it.
extern "C" const sputnik::abi::Accelerator sputnik_cuda;

/// First byte of the embedded image: a segment of the executable, mapped by the
/// kernel. Holds no image (zeros) unless the weight source is kEmbedded. A
/// function, because the image is farther away than code can name directly.
extern "C" const uint8_t *sputnik_image_address();

#endif // SPUTNIK_RUNTIME_ABI_H
