//===- Emulator.h - Runs GPU kernels on the host ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For those who write kernels: executes the very LLVM IR that becomes PTX, with
// no GPU. Threads of a block are fibers; where they wait for each other they
// take turns in an order that a seed gives. Shared memory is full of NaNs when
// a block starts, each access is checked against the buffers that the launch
// may use, and threads that wait in vain end the launch with a line that says
// where. See docs/gpu-emulator.md.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_CODEGEN_GPU_EMULATOR_EMULATOR_H
#define SPUTNIK_CODEGEN_GPU_EMULATOR_EMULATOR_H

#include "codegen/gpu/emulator/Grid.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"

namespace llvm {
class LLVMContext;
class Module;
namespace orc {
class LLJIT;
} // namespace orc
} // namespace llvm

namespace sputnik::gpu {

class Emulator {
public:
  /// Takes kernels as KernelCode has them, before or after LLVM's passes, but
  /// before makePtx. Fails on an instruction that it does not know.
  static llvm::Expected<std::unique_ptr<Emulator>>
  create(std::unique_ptr<llvm::Module> kernels,
         std::unique_ptr<llvm::LLVMContext> context);
  ~Emulator();

  /// Memory that kernels may read, and write if `writable`.
  void addBuffer(llvm::StringRef name, void *data, uint64_t bytes,
                 bool writable);
  /// Takes back the buffer that begins at `data`.
  void removeBuffer(void *data);

  bool hasKernel(llvm::StringRef name) const { return entries.count(name); }
  /// The sizes of the arguments of a kernel that there is.
  llvm::ArrayRef<unsigned> getArgumentBytes(llvm::StringRef name) const {
    return entries.find(name)->second.argumentBytes;
  }

  /// Runs a kernel to its end; `arguments` are the addresses of its arguments,
  /// as for cuLaunchKernel.
  llvm::Error launch(llvm::StringRef kernel, Grid::Shape shape,
                     llvm::ArrayRef<void *> arguments);

  /// The order in which threads take turns follows from it and from the number
  /// of launches since.
  void setSeed(uint64_t value) { seed = value; }

private:
  struct Entry {
    Grid::Entry function;
    std::vector<unsigned> argumentBytes;
  };

  Emulator() = default;

  std::unique_ptr<llvm::orc::LLJIT> jit;
  llvm::StringMap<Entry> entries;
  std::vector<EmulatedBuffer> buffers;
  uint64_t seed = 0;
};

} // namespace sputnik::gpu

#endif // SPUTNIK_CODEGEN_GPU_EMULATOR_EMULATOR_H
