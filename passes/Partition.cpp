//===- Partition.cpp - How threads share regions --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "passes/Passes.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

namespace sputnik::r1 {
#define GEN_PASS_DEF_PARTITIONPASS
#include "passes/Passes.h.inc"
} // namespace sputnik::r1

using namespace mlir;
using namespace sputnik;
using namespace sputnik::r1;

/// Features that one thread must compute together in a region around `linear`:
/// a panel of the weight, the heads and the blockwise pairs of what follows.
static int64_t chooseGranule(RegionOp region, LinearOp linear) {
  EncodingAttr encoding =
      getEncoding(lookupWeightType(linear, linear.getWeightAttr()));
  int64_t granule = encoding ? encoding.getPanel() : 1;
  for (Operation &op : region.getBody().getOps()) {
    if (auto graphOp = dyn_cast<GraphOpInterface>(op))
      if (int64_t head = graphOp.getHeadSize())
        granule = std::lcm(granule, head);
    if (auto split = dyn_cast<SplitOp>(op); split && split.getBlock())
      granule = std::lcm(granule, static_cast<int64_t>(*split.getBlock()) *
                                      split.getNumResults());
  }
  return granule;
}

/// Heads that see the latents together, which are rewritten for them: all that
/// one core takes, in whole vectors.
static int64_t chooseHeads(LatentAttentionOp op) {
  constexpr int64_t kVector = 16;
  if (op.getForm() == LatentForm::Expanded)
    return 1;
  auto target =
      op->getParentOfType<ModuleOp>()->getAttrOfType<TargetAttr>(kTargetAttr);
  int64_t cores = target ? target.getCores() : 1;
  int64_t share = llvm::divideCeil(op.getHeads(), cores);
  return std::min(op.getHeads(),
                  static_cast<int64_t>(llvm::alignTo(share, kVector)));
}

static PartitionAttr choosePartition(RegionOp region) {
  MLIRContext *context = region.getContext();
  auto linears = region.getBody().getOps<LinearOp>();
  if (!linears.empty())
    return PartitionAttr::get(context, SplitKind::Features,
                              chooseGranule(region, *linears.begin()));
  auto latent = region.getBody().getOps<LatentAttentionOp>();
  if (!latent.empty())
    return PartitionAttr::get(context, SplitKind::Heads,
                              chooseHeads(*latent.begin()));
  auto up = region.getBody().getOps<ExpertsUpOp>();
  if (!up.empty()) {
    std::optional<uint64_t> block = (*up.begin()).getBlock();
    return PartitionAttr::get(context, SplitKind::Experts,
                              block ? static_cast<int64_t>(2 * *block) : 1);
  }
  auto down = region.getBody().getOps<ExpertsDownOp>();
  if (!down.empty()) {
    EncodingAttr encoding = getEncoding(
        lookupWeightType(*down.begin(), (*down.begin()).getDownAttr()));
    return PartitionAttr::get(context, SplitKind::Features,
                              encoding ? encoding.getPanel() : 1);
  }
  bool attends = !region.getBody().getOps<AttentionOp>().empty();
  return PartitionAttr::get(
      context, attends ? SplitKind::HeadsAndTokens : SplitKind::Tokens, 1);
}

namespace {
struct Partition final : r1::impl::PartitionPassBase<Partition> {
  using Base::Base;

  void runOnOperation() override {
    getOperation().walk([](RegionOp region) {
      region.setPartitionAttr(choosePartition(region));
    });
  }
};
} // namespace
