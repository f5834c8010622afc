//===- WarpgroupRing.cpp - Places that are filled and emptied -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/WarpgroupRing.h"

using namespace mlir;
using namespace sputnik;
using namespace sputnik::gpu;

void sputnik::gpu::arriveAsWarp(Kernel &k, Value barrier) {
  k.warpBarrier();
  k.ifThen(k.equal(k.lane, k.i64(0)), [&] { k.arrive(barrier); });
}

WarpgroupRing::WarpgroupRing(Kernel &k, int64_t places, int64_t bytes,
                             int64_t fillers, int64_t emptiers)
    : k(k), places(places), bytes(bytes) {
  base = k.allocateShared(places * bytes);
  barriers = k.allocateBarriers(2 * places);
  k.ifThen(k.equal(k.thread, k.i64(0)), [&] {
    for (int64_t i = 0; i < places; ++i) {
      k.initBarrier(full(k.i64(i)), fillers);
      k.initBarrier(empty(k.i64(i)), emptiers);
    }
    k.fenceBarriers();
  });
}

WarpgroupRing::Place WarpgroupRing::next(const Place &place) {
  Value more = k.add(place.index, 1);
  Value wraps = k.equal(more, k.i64(places));
  Value other = arith::XOrIOp::create(k.b, k.loc, place.parity, k.i32(1));
  return {k.select(wraps, k.i64(0), more),
          k.select(wraps, other, place.parity)};
}

Value WarpgroupRing::before(Value index, int64_t count) {
  Value less = k.sub(index, k.i64(count));
  return k.select(k.less(less, k.i64(0)), k.add(less, places), less);
}

void WarpgroupRing::announceFull(Value index) {
  k.fenceForProducts();
  arriveAsWarp(k, full(index));
}

void WarpgroupRing::announceEmpty(Value index) {
  arriveAsWarp(k, empty(index));
}
