//===- WarpgroupProducts.cpp - Products that are under way ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/gpu/emulator/WarpgroupProducts.h"

#include <algorithm>
#include <bit>

using namespace sputnik::gpu;

// A token is a NaN that arithmetic does not give by itself, with the record's
// number and the place among its sums.
static constexpr uint32_t kTokenBits = 0x7fe00000;
static constexpr uint32_t kPlaces = 128, kRecords = 1 << 14;

static bool isToken(float value) {
  return (std::bit_cast<uint32_t>(value) & kTokenBits) == kTokenBits &&
         std::bit_cast<int32_t>(value) > 0;
}
static uint32_t recordOf(float token) {
  return std::bit_cast<uint32_t>(token) / kPlaces % kRecords;
}

bool WarpgroupProducts::areTokens(llvm::ArrayRef<float> registers) {
  return isToken(registers.front());
}

void WarpgroupProducts::start(
    Form form, llvm::ArrayRef<llvm::MutableArrayRef<float>> registers) {
  Product &product = products.emplace_back();
  product.form = std::move(form);
  const auto number = static_cast<uint32_t>(started % kRecords);
  for (uint32_t t = 0; t < kThreads; ++t) {
    Thread &thread = threads[t];
    llvm::MutableArrayRef<float> own = registers[t];
    Record record;
    auto before = areTokens(own) ? thread.records.find(recordOf(own.front()))
                                 : thread.records.end();
    if (before != thread.records.end()) {
      record.sums = before->second.sums;
      thread.records.erase(before);
    } else {
      record.sums = std::make_shared<std::vector<float>>(own.begin(), own.end());
    }
    record.group = static_cast<uint32_t>(thread.groups.size());
    product.sums[t] = record.sums;
    thread.records[number] = record;
    for (uint32_t i = 0; i < own.size(); ++i)
      own[i] = std::bit_cast<float>(kTokenBits | number * kPlaces | i);
  }
  ++started;
}

void WarpgroupProducts::formNext() {
  products.front().form(products.front().sums);
  products.pop_front();
  ++formed;
}

void WarpgroupProducts::formAll() {
  while (!products.empty())
    formNext();
}

void WarpgroupProducts::commit(uint32_t thread) {
  threads[thread].groups.push_back(started);
  threads[thread].fenced = false;
}

void WarpgroupProducts::wait(uint32_t thread, uint32_t pending) {
  Thread &own = threads[thread];
  own.fenced = false;
  if (own.groups.size() <= pending)
    return;
  const size_t waited = own.groups.size() - pending;
  while (formed < own.groups[waited - 1])
    formNext();
  for (auto &[number, record] : own.records)
    record.waited |= record.group < waited;
}

void WarpgroupProducts::resolve(uint32_t thread,
                                llvm::MutableArrayRef<float> registers) {
  auto &records = threads[thread].records;
  for (float &value : registers) {
    if (!isToken(value))
      continue;
    auto record = records.find(recordOf(value));
    if (record == records.end() || !record->second.waited)
      continue;
    const uint32_t place = std::bit_cast<uint32_t>(value) % kPlaces;
    value = (*record->second.sums)[place];
    if (place + 1 == record->second.sums->size())
      records.erase(record);
  }
}

bool WarpgroupProducts::isUnderWay() const {
  return llvm::any_of(threads, [](const Thread &thread) {
    return llvm::any_of(thread.records,
                        [](const auto &entry) { return !entry.second.waited; });
  });
}
