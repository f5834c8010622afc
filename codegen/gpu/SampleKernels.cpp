//===- SampleKernels.cpp - Choosing the next token ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The sampler of the runtime as kernels: the same tokens from the same logits and
// random numbers. Weights are whole numbers there, so that sums are the same in
// any order. What may be drawn is the beginning of the tokens in their order,
// largest logit first: top-k ends it after so many, top-p after so much weight, and
// the draw is the one token where a random part of the weight is reached. All
// three are one search: by histogram over the distances to the largest logit, and
// in the one bin that it ends in by the digits of the tokens' keys.
//
//===----------------------------------------------------------------------===//

#include "codegen/gpu/SampleKernels.h"

#include "codegen/gpu/TokenOrder.h"

#include "runtime/Abi.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

/// Logits of a block.
static constexpr int64_t kBlockIds = 4 * kThreads;
/// Bins of the histogram, and how many make a distance of 1 (over the
/// temperature).
static constexpr int64_t kBins = 2048, kBinsPerUnit = 64;
static_assert(kBins / kBinsPerUnit > abi::kLargestDistance);
static constexpr int64_t kThreadBins = kBins / kThreads;
/// Of the keys' digits that the tokens of a bin are told apart by.
static constexpr int64_t kDigitBits = 8;
static_assert(1 << kDigitBits == kThreads);

namespace {

/// What is searched for next. The numbers are those of the launches of `select`.
enum Stage : int64_t { kTopK, kTopP, kDraw, kWeigh, kDone };

/// Where kernels leave what the next ones need, from the start of the workspace.
enum Field : int64_t {
  kLargest = 0,       ///< f64
  kStage = 8,         ///< i64, the rest too
  kBin = 16,          ///< That the search ends in.
  kTarget = 24,       ///< Of the search, less what lies in bins before.
  kWeightBefore = 32, ///< In bins before.
  kCountBefore = 40,
  kListed = 48, ///< Tokens of the bin that were found so far.
  kHistogram = 64,
};
/// A bin's, or token's: weight and count, or key and weight.
constexpr int64_t kPairBytes = 16;

class SampleKernel {
public:
  SampleKernel(Kernel &k, int64_t vocabulary)
      : k(k), order(k), vocabulary(vocabulary),
        blocks(llvm::divideCeil(vocabulary, kBlockIds)) {
    partials = kHistogram + kBins * kPairBytes;
    bins = llvm::alignTo(partials + blocks * 8, 16);
    list = llvm::alignTo(bins + vocabulary * 4, 16);
    scratch = k.allocateWorkspace(list + vocabulary * kPairBytes);
  }

  void emitLargest();
  void emitWeigh();
  void emitSelect();
  int64_t getBlocks() const { return blocks; }

private:
  Value option(size_t offset) { return k.at(k.argument(kSampling), offset); }
  Value load64(Value ptr) { return k.load(k.i64Type(), ptr, 8); }
  Value loadF64(Value ptr) { return k.load(k.b.getF64Type(), ptr, 8); }
  Value field(Field field) { return load64(k.at(scratch, field)); }
  void setField(Field field, Value value) {
    k.store(value, k.at(scratch, field), 8);
  }
  void addTo(Value ptr, Value value) {
    LLVM::AtomicRMWOp::create(k.b, k.loc, LLVM::AtomicBinOp::add, ptr, value,
                              LLVM::AtomicOrdering::monotonic, "device");
  }
  Value logit(Value id) {
    return k.load(k.f32Type(), k.at(k.argument(kLogits), k.mul(id, 4)), 4);
  }
  TokenOrder::Weight weightOf(Value logit) {
    return order.weight(logit, loadF64(k.at(scratch, kLargest)),
                        loadF64(option(offsetof(abi::Sampling, temperature))));
  }
  void forOwnIds(Value count, function_ref<void(Value)> body);
  /// Gives a token to the next step and to the host.
  void finish(Value id, Value status);

  /// Weight and count of some tokens.
  struct Sums {
    Value weight, count;
  };
  /// Of this thread, of those before it, of all.
  struct Scanned {
    Sums own, before, all;
  };
  Scanned scanBins();
  /// Decides, from what the tokens that are left weigh and how many there are,
  /// what is searched for, and in which bin that is.
  void plan(const Scanned &bins, Sums left, Value stage, Value countTarget,
            Value mayTopP);
  /// In the bin's list: what tokens up to the one that is searched for weigh and
  /// how many they are, and its key.
  std::pair<Sums, Value> searchList(Value count, Value byCount);

  Kernel &k;
  TokenOrder order;
  const int64_t vocabulary, blocks;
  int64_t partials, bins, list;
  Value scratch;
};

} // namespace

void SampleKernel::forOwnIds(Value count, function_ref<void(Value)> body) {
  for (int64_t i = 0; i < kBlockIds / kThreads; ++i) {
    Value id =
        k.add(k.add(k.mul(k.block, kBlockIds), i * kThreads), k.thread);
    k.ifThen(k.less(id, count), [&] { body(id); });
  }
}

void SampleKernel::finish(Value id, Value status) {
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    Type i32 = k.b.getI32Type();
    auto store32 = [&](Value value, Value ptr) {
      k.store(arith::TruncIOp::create(k.b, k.loc, i32, value), ptr, 4);
    };
    store32(id, k.argument(kTokens));
    Value position = k.load(i32, k.argument(kPositions), 4);
    k.store(arith::AddIOp::create(k.b, k.loc, position, k.i32(1)),
            k.argument(kPositions), 4);
    Value steps = load64(option(offsetof(abi::Sampling, steps)));
    Value ring =
        k.load(k.ptrType(), option(offsetof(abi::Sampling, ring)), 8);
    Value index = arith::AndIOp::create(
        k.b, k.loc, steps, load64(option(offsetof(abi::Sampling, ringMask))));
    Value entry = k.at(ring, k.mul(index, sizeof(abi::SampledToken)));
    k.store(load64(option(offsetof(abi::Sampling, random))),
            k.at(entry, offsetof(abi::SampledToken, random)), 8);
    store32(id, k.at(entry, offsetof(abi::SampledToken, id)));
    store32(status, k.at(entry, offsetof(abi::SampledToken, status)));
    Value number = k.add(steps, 1);
    k.store(number, option(offsetof(abi::Sampling, steps)), 8);
    // The host looks at the number alone until it is there.
    LLVM::FenceOp::create(k.b, k.loc, LLVM::AtomicOrdering::release, "");
    LLVM::StoreOp::create(k.b, k.loc, number,
                          k.at(entry, offsetof(abi::SampledToken, number)), 8,
                          /*isVolatile=*/false, /*isNonTemporal=*/false,
                          /*isInvariantGroup=*/false,
                          LLVM::AtomicOrdering::monotonic);
  });
}

/// Finds the first of the largest logits; takes it where nothing is drawn.
void SampleKernel::emitLargest() {
  Value words = k.i64(kBins * kPairBytes / 8);
  k.loop(k.add(k.mul(k.block, kThreads), k.thread), words, blocks * kThreads,
         [&](Value i) {
           k.store(k.i64(0), k.at(scratch, k.add(k.mul(i, 8), kHistogram)), 8);
         });
  Value count = load64(option(offsetof(abi::Sampling, idCount)));
  Value best = order.lastKey();
  for (int64_t i = 0; i < kBlockIds / kThreads; ++i) {
    Value id =
        k.add(k.add(k.mul(k.block, kBlockIds), i * kThreads), k.thread);
    best = k.ifThenElse(k.less(id, count), best, [&] {
      return SmallVector<Value>{k.min(best, order.key(logit(id), id))};
    })[0];
  }
  Value blockBest = order.teamMin(best);
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    k.store(blockBest, k.at(scratch, k.add(k.mul(k.block, 8), partials)), 8);
  });
  k.ifThen(k.arriveLast(k.counter(k.i64(0)), blocks), [&] {
    Value first =
        k.loop(k.thread, k.i64(blocks), kThreads, {order.lastKey()},
               [&](Value i, ValueRange before) {
                 return SmallVector<Value>{k.min(
                     before[0],
                     load64(k.at(scratch, k.add(k.mul(i, 8), partials))))};
               })[0];
    first = order.teamMin(first);
    Value largest = order.logitOf(first), id = order.idOf(first);
    Value status = order.statusOf(first);
    Value bad = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ne,
                                      status, k.i64(abi::kSampled));
    Value draws = arith::CmpFOp::create(
        k.b, k.loc, arith::CmpFPredicate::OGT,
        loadF64(option(offsetof(abi::Sampling, temperature))),
        order.f64(0));
    Value ends = arith::OrIOp::create(
        k.b, k.loc, bad,
        arith::XOrIOp::create(k.b, k.loc, draws,
                              k.splat(k.b.getI1Type(), 1)));
    k.store(arith::ExtFOp::create(k.b, k.loc, k.b.getF64Type(), largest),
            k.at(scratch, kLargest), 8);
    setField(kStage, k.select(ends, k.i64(kDone), k.i64(kWeigh)));
    setField(kListed, k.i64(0));
    k.ifThen(ends, [&] { finish(id, status); });
  });
}

/// Makes the histogram of what tokens weigh.
void SampleKernel::emitWeigh() {
  k.ifThen(k.equal(field(kStage), k.i64(kWeigh)), [&] {
    Value count = load64(option(offsetof(abi::Sampling, idCount)));
    forOwnIds(k.i64(vocabulary), [&](Value id) {
      Value at = k.at(scratch, k.add(k.mul(id, 4), bins));
      k.store(k.i32(-1), at, 4);
      k.ifThen(k.less(id, count), [&] {
        TokenOrder::Weight weight = weightOf(logit(id));
        k.ifThen(k.less(k.i64(0), weight.value), [&] {
          Value bin = order.bin(weight.distance, kBinsPerUnit);
          k.store(arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), bin),
                  at, 4);
          Value pair =
              k.at(scratch, k.add(k.mul(bin, kPairBytes), kHistogram));
          addTo(pair, weight.value);
          addTo(k.at(pair, 8), k.i64(1));
        });
      });
    });
    k.ifThen(k.arriveLast(k.counter(k.i64(0)), blocks), [&] {
      Scanned scanned = scanBins();
      Value most = load64(option(offsetof(abi::Sampling, topK)));
      Value cuts = k.both(k.less(k.i64(0), most),
                          k.less(most, scanned.all.count));
      plan(scanned, scanned.all, k.select(cuts, k.i64(kTopK), k.i64(kDraw)),
           k.sub(most, k.i64(1)), k.splat(k.b.getI1Type(), 1));
    });
  });
}

SampleKernel::Scanned SampleKernel::scanBins() {
  Scanned scanned;
  scanned.own = {k.i64(0), k.i64(0)};
  Value first = k.at(scratch, k.add(k.mul(k.thread, kThreadBins * kPairBytes),
                                    kHistogram));
  for (int64_t i = 0; i < kThreadBins; ++i) {
    Value pair = k.at(first, i * kPairBytes);
    scanned.own.weight = k.add(scanned.own.weight, load64(pair));
    scanned.own.count = k.add(scanned.own.count, load64(k.at(pair, 8)));
  }
  std::tie(scanned.before.weight, scanned.all.weight) =
      order.scan(scanned.own.weight);
  std::tie(scanned.before.count, scanned.all.count) =
      order.scan(scanned.own.count);
  return scanned;
}

void SampleKernel::plan(const Scanned &scanned, Sums left, Value stage,
                        Value countTarget, Value mayTopP) {
  Value byCount = k.equal(stage, k.i64(kTopK));
  Value topP = loadF64(option(offsetof(abi::Sampling, topP)));
  Value nucleus = k.both(
      k.both(mayTopP, k.equal(stage, k.i64(kDraw))),
      arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OLT, topP,
                            order.f64(1)));
  Value random = load64(option(offsetof(abi::Sampling, random)));
  auto [next, drawn] = order.draw(random, left.weight);
  Value several = k.less(k.i64(1), left.count);
  drawn = k.select(several, drawn, k.i64(0));
  Value draws = k.both(k.equal(stage, k.i64(kDraw)),
                       k.equal(k.select(nucleus, k.i64(1), k.i64(0)),
                               k.i64(0)));
  Value target =
      k.select(byCount, countTarget,
               k.select(nucleus, order.nucleusTarget(topP, left.weight),
                        drawn));
  // The thread whose bins hold the target walks through them.
  Value before =
      k.select(byCount, scanned.before.count, scanned.before.weight);
  Value own = k.select(byCount, scanned.own.count, scanned.own.weight);
  Value beyond = k.add(before, own);
  k.ifThen(k.both(k.less(before, k.add(target, 1)), k.less(target, beyond)),
           [&] {
    Value first = k.mul(k.thread, kThreadBins);
    SmallVector<Value> state = {first, before, scanned.before.weight,
                                scanned.before.count};
    for (int64_t i = 0; i < kThreadBins; ++i) {
      Value pair = k.at(scratch, k.add(k.mul(k.add(first, i), kPairBytes),
                                       kHistogram));
      Value weight = load64(pair), count = load64(k.at(pair, 8));
      Value end = k.add(state[1], k.select(byCount, count, weight));
      Value past = k.both(k.less(end, k.add(target, 1)),
                          k.equal(state[0], k.add(first, i)));
      state = {k.select(past, k.add(state[0], 1), state[0]),
               k.select(past, end, state[1]),
               k.select(past, k.add(state[2], weight), state[2]),
               k.select(past, k.add(state[3], count), state[3])};
    }
    setField(kBin, state[0]);
    setField(kTarget, k.sub(target, state[1]));
    setField(kWeightBefore, state[2]);
    setField(kCountBefore, state[3]);
  });
  // Everybody has read the random numbers' state.
  k.barrier();
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    setField(kStage, k.select(nucleus, k.i64(kTopP), stage));
    setField(kListed, k.i64(0));
    k.ifThen(k.both(draws, several), [&] {
      k.store(next, option(offsetof(abi::Sampling, random)), 8);
    });
  });
}

std::pair<SampleKernel::Sums, Value>
SampleKernel::searchList(Value count, Value byCount) {
  Value histogram = k.allocateShared(kThreads * kPairBytes);
  Value found = k.allocateShared(4 * 8);
  Value entries = k.at(scratch, list);
  auto pairAt = [&](Value base, Value i) {
    return k.at(base, k.mul(i, kPairBytes));
  };
  auto shift = [&](Value value, Value bits) -> Value {
    return arith::ShRUIOp::create(k.b, k.loc, value, bits);
  };
  // Keys that begin as `prefix` does, which stands above bit `end`, are left:
  // `count` of them. Of the target, what lies before them is taken off.
  Value digits = k.i64(TokenOrder::kKeyBits / kDigitBits);
  SmallVector<Value> start = {k.i64(0), k.i64(TokenOrder::kKeyBits), count,
                              field(kTarget), field(kWeightBefore),
                              field(kCountBefore)};
  SmallVector<Value> state = k.loop(
      k.i64(0), digits, 1, start, [&](Value, ValueRange carried) {
        Value prefix = carried[0], end = carried[1], target = carried[3];
        Value weightBefore = carried[4], countBefore = carried[5];
        return k.ifThenElse(k.less(k.i64(1), carried[2]), carried, [&] {
          Value bit = k.sub(end, k.i64(kDigitBits));
          Value own = pairAt(histogram, k.thread);
          k.store(k.i64(0), own, 8);
          k.store(k.i64(0), k.at(own, 8), 8);
          k.barrier();
          k.forEach(count, [&](Value i) {
            Value entry = pairAt(entries, i), key = load64(entry);
            k.ifThen(k.equal(shift(key, end), prefix), [&] {
              Value digit = arith::AndIOp::create(
                  k.b, k.loc, shift(key, bit), k.i64(kThreads - 1));
              Value pair = pairAt(histogram, digit);
              addTo(pair, load64(k.at(entry, 8)));
              addTo(k.at(pair, 8), k.i64(1));
            });
          });
          k.barrier();
          Value weight = load64(own), members = load64(k.at(own, 8));
          Value weightAhead = order.scan(weight).first;
          Value countAhead = order.scan(members).first;
          Value ahead = k.select(byCount, countAhead, weightAhead);
          Value beyond = k.add(ahead, k.select(byCount, members, weight));
          k.ifThen(k.both(k.less(ahead, k.add(target, 1)),
                          k.less(target, beyond)),
                   [&] {
                     k.store(k.thread, found, 8);
                     k.store(members, k.at(found, 8), 8);
                     k.store(weightAhead, k.at(found, 16), 8);
                     k.store(countAhead, k.at(found, 24), 8);
                   });
          k.barrier();
          Value digit = load64(found), w = load64(k.at(found, 16)),
                c = load64(k.at(found, 24));
          return SmallVector<Value>{
              k.add(k.mul(prefix, kThreads), digit),
              bit,
              load64(k.at(found, 8)),
              k.sub(target, k.select(byCount, c, w)),
              k.add(weightBefore, w),
              k.add(countBefore, c)};
        });
      });
  // One is left.
  k.barrier();
  k.forEach(count, [&](Value i) {
    Value entry = pairAt(entries, i), key = load64(entry);
    k.ifThen(k.equal(shift(key, state[1]), state[0]), [&] {
      k.store(key, found, 8);
      k.store(load64(k.at(entry, 8)), k.at(found, 8), 8);
    });
  });
  k.barrier();
  return {{k.add(state[4], load64(k.at(found, 8))), k.add(state[5], 1)},
          load64(found)};
}

/// Lists the tokens of the bin that a search ends in, and finds the one there.
void SampleKernel::emitSelect() {
  Value stage = k.widen(k.argument(kLayer));
  k.ifThen(k.equal(field(kStage), stage), [&] {
    Value bin = field(kBin);
    forOwnIds(k.i64(vocabulary), [&](Value id) {
      Value own = arith::ExtSIOp::create(
          k.b, k.loc, k.i64Type(),
          k.load(k.b.getI32Type(),
                 k.at(scratch, k.add(k.mul(id, 4), bins)), 4));
      k.ifThen(k.equal(own, bin), [&] {
        Value place = LLVM::AtomicRMWOp::create(
            k.b, k.loc, LLVM::AtomicBinOp::add, k.at(scratch, kListed),
            k.i64(1), LLVM::AtomicOrdering::monotonic, "device");
        Value entry =
            k.at(scratch, k.add(k.mul(place, kPairBytes), list));
        Value value = logit(id);
        k.store(order.key(value, id), entry, 8);
        k.store(weightOf(value).value, k.at(entry, 8), 8);
      });
    });
    k.ifThen(k.arriveLast(k.counter(k.i64(0)), blocks), [&] {
      auto [reached, key] =
          searchList(field(kListed), k.equal(stage, k.i64(kTopK)));
      Value draws = k.equal(stage, k.i64(kDraw));
      k.ifThen(draws, [&, key = key] {
        finish(order.idOf(key), k.i64(abi::kSampled));
      });
      Value others = arith::XOrIOp::create(k.b, k.loc, draws,
                                           k.splat(k.b.getI1Type(), 1));
      k.ifThen(others, [&, reached = reached] {
        plan(scanBins(), reached, k.i64(kDraw), k.i64(0),
             k.equal(stage, k.i64(kTopK)));
      });
    });
  });
}

std::vector<Launch> sputnik::gpu::emitSampling(ModuleOp code,
                                               int64_t vocabulary,
                                               int64_t activationBytes,
                                               r1::TargetAttr target,
                                               int64_t &arenaBytes) {
  OpBuilder builder(code.getContext());
  std::vector<Launch> launches;
  auto add = [&](StringRef name, ArrayRef<int64_t> stages,
                 void (SampleKernel::*emit)()) {
    Kernel k(builder, code, r1::RegionOp(), name, r1::PhaseAttr(), target,
             activationBytes);
    k.awaitPrevious();
    SampleKernel kernel(k, vocabulary);
    (kernel.*emit)();
    k.finish();
    arenaBytes = std::max(arenaBytes, k.getArenaBytes());
    for (int64_t stage : stages)
      launches.push_back({name.str(), kernel.getBlocks(), 1, false,
                          k.getSharedBytes(), stage, /*number=*/0});
  };
  add("sample_largest", {0}, &SampleKernel::emitLargest);
  add("sample_weigh", {0}, &SampleKernel::emitWeigh);
  add("sample_select", {kTopK, kTopP, kDraw}, &SampleKernel::emitSelect);
  return launches;
}
