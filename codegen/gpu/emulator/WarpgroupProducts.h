//===- WarpgroupProducts.h - Products that are under way --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_WARPGROUPPRODUCTS_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_WARPGROUPPRODUCTS_H

#include "llvm/ADT/ArrayRef.h"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace sputnik::gpu {

/// The sums that a warpgroup's wgmma.mma_async have under way. A product is
/// formed at some time between its start and the wait for its group, in order.
/// Until that wait, the registers of its sums hold *tokens*: NaNs that say which
/// sum they stand for. Another product may take them as its sums; anything else
/// that reads them computes NaN.
class WarpgroupProducts {
public:
  static constexpr uint32_t kThreads = 128;
  /// Sums of one thread.
  using Sums = std::shared_ptr<std::vector<float>>;
  /// Adds the product to the sums of all threads.
  using Form = std::function<void(llvm::ArrayRef<Sums>)>;

  /// wgmma.fence of a thread.
  void fence(uint32_t thread) { threads[thread].fenced = true; }
  bool isFenced(uint32_t thread) const { return threads[thread].fenced; }
  /// Whether registers hold sums that are under way.
  static bool areTokens(llvm::ArrayRef<float> registers);

  /// Starts a product on the threads' `registers`, which become tokens.
  void start(Form form,
             llvm::ArrayRef<llvm::MutableArrayRef<float>> registers);
  /// Forms what was started.
  void formAll();
  /// wgmma.commit_group of a thread.
  void commit(uint32_t thread);
  /// wgmma.wait_group of a thread: all groups but the last `pending`.
  void wait(uint32_t thread, uint32_t pending);
  /// Tokens of products that were waited for become the sums.
  void resolve(uint32_t thread, llvm::MutableArrayRef<float> registers);
  /// Whether any thread has something that it did not wait for.
  bool isUnderWay() const;

private:
  struct Record {
    Sums sums;
    uint32_t group;
    bool waited = false;
  };
  struct Thread {
    bool fenced = false;
    /// Of each group that is committed, how many products were started.
    std::vector<uint64_t> groups;
    std::map<uint32_t, Record> records; ///< By the number in the tokens.
  };
  struct Product {
    Form form;
    std::array<Sums, kThreads> sums;
  };
  void formNext();

  std::array<Thread, kThreads> threads;
  std::deque<Product> products; ///< Not formed yet.
  uint64_t started = 0, formed = 0;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_WARPGROUPPRODUCTS_H
