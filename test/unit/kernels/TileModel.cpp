//===- TileModel.cpp - Tile registers in software -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/kernels/TileModel.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace {

/// A tile register: what lies outside of its shape is zero.
struct Tile {
  uint8_t rows[16][64];
};

void zero(Tile *tile, int, int) { std::memset(tile, 0, sizeof(Tile)); }

void load(Tile *tile, int rows, int bytes, const uint8_t *base,
          int64_t stride) {
  std::memset(tile, 0, sizeof(Tile));
  for (int row = 0; row < rows; ++row)
    std::memcpy(tile->rows[row], base + row * stride,
                static_cast<size_t>(bytes));
}

void store(const Tile *tile, int rows, int bytes, uint8_t *base,
           int64_t stride) {
  for (int row = 0; row < rows; ++row)
    std::memcpy(base + row * stride, tile->rows[row],
                static_cast<size_t>(bytes));
}

template <typename T> T elementOf(const Tile &tile, int row, int index) {
  T value;
  std::memcpy(&value, &tile.rows[row][index * static_cast<int>(sizeof(T))],
              sizeof(T));
  return value;
}

/// TDPBSSD: `m` rows of `a` with `k` bytes, times k / 4 rows of `b` with `n` bytes.
void multiplyBytes(Tile *result, int m, int n, int k, const Tile *c,
                   const Tile *a, const Tile *b) {
  Tile sums = {};
  for (int row = 0; row < m; ++row)
    for (int column = 0; column < n / 4; ++column) {
      auto sum = elementOf<int32_t>(*c, row, column);
      for (int i = 0; i < k; ++i)
        sum += elementOf<int8_t>(*a, row, i) *
               elementOf<int8_t>(*b, i / 4, 4 * column + i % 4);
      std::memcpy(&sums.rows[row][4 * column], &sum, sizeof(sum));
    }
  *result = sums;
}

/// TDPBF16PS, the same with pairs of bf16 and sums in f32.
void multiplyPairs(Tile *result, int m, int n, int k, const Tile *c,
                   const Tile *a, const Tile *b) {
  const auto wide = [](uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  };
  Tile sums = {};
  for (int row = 0; row < m; ++row)
    for (int column = 0; column < n / 4; ++column) {
      auto sum = elementOf<float>(*c, row, column);
      for (int i = 0; i < k / 2; ++i)
        sum += wide(elementOf<uint16_t>(*a, row, i)) *
               wide(elementOf<uint16_t>(*b, i / 2, 2 * column + i % 2));
      std::memcpy(&sums.rows[row][4 * column], &sum, sizeof(sum));
    }
  *result = sums;
}

/// The function of this process that stands for an intrinsic, or null.
void *modelOf(llvm::Intrinsic::ID id) {
  switch (id) {
  case llvm::Intrinsic::x86_tilezero_internal:
    return reinterpret_cast<void *>(zero);
  case llvm::Intrinsic::x86_tileloadd64_internal:
    return reinterpret_cast<void *>(load);
  case llvm::Intrinsic::x86_tilestored64_internal:
    return reinterpret_cast<void *>(store);
  case llvm::Intrinsic::x86_tdpbssd_internal:
    return reinterpret_cast<void *>(multiplyBytes);
  case llvm::Intrinsic::x86_tdpbf16ps_internal:
    return reinterpret_cast<void *>(multiplyPairs);
  default:
    return nullptr;
  }
}

void replaceIn(llvm::Function &function) {
  llvm::DenseMap<llvm::Value *, llvm::Value *> memory;
  llvm::SmallVector<llvm::IntrinsicInst *> found;
  for (llvm::Instruction &instruction : llvm::instructions(function))
    if (auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
        call && modelOf(call->getIntrinsicID()))
      found.push_back(call);
  llvm::Type *tileType = llvm::ArrayType::get(
      llvm::Type::getInt8Ty(function.getContext()), sizeof(Tile));
  for (llvm::IntrinsicInst *call : found) {
    if (!call->getType()->isX86_AMXTy())
      continue;
    llvm::IRBuilder<> entry(&*function.getEntryBlock().getFirstInsertionPt());
    auto *slot = entry.CreateAlloca(tileType);
    slot->setAlignment(llvm::Align(64));
    memory[call] = slot;
  }
  for (llvm::IntrinsicInst *call : found) {
    llvm::IRBuilder<> builder(call);
    llvm::SmallVector<llvm::Value *> arguments;
    if (llvm::Value *slot = memory.lookup(call))
      arguments.push_back(slot);
    else // A store's tile comes first here.
      arguments.push_back(memory.lookup(call->getArgOperand(4)));
    for (llvm::Value *argument : call->args())
      if (argument->getType()->isIntegerTy(16))
        arguments.push_back(builder.CreateSExt(argument, builder.getInt32Ty()));
      else if (!argument->getType()->isX86_AMXTy())
        arguments.push_back(argument);
      else if (memory.lookup(call))
        arguments.push_back(memory.lookup(argument));
    llvm::SmallVector<llvm::Type *> types;
    for (llvm::Value *argument : arguments)
      types.push_back(argument->getType());
    auto *type = llvm::FunctionType::get(builder.getVoidTy(), types, false);
    auto *address = builder.getInt64(
        reinterpret_cast<uint64_t>(modelOf(call->getIntrinsicID())));
    builder.CreateCall(
        type, builder.CreateIntToPtr(address, builder.getPtrTy()), arguments);
  }
  for (llvm::IntrinsicInst *call : llvm::reverse(found))
    call->eraseFromParent();
}

} // namespace

llvm::Error sputnik::testing::replaceTiles(llvm::Module &module) {
  for (llvm::Function &function : module) {
    for (llvm::Instruction &instruction : llvm::instructions(function))
      if (instruction.getType()->isX86_AMXTy() &&
          !llvm::isa<llvm::IntrinsicInst>(instruction))
        return llvm::createStringError("a tile of %s is no intrinsic's result",
                                       function.getName().str().c_str());
    replaceIn(function);
  }
  return llvm::Error::success();
}
