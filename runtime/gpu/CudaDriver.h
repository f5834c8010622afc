//===- CudaDriver.h - The part of the CUDA driver API in use ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_GPU_CUDADRIVER_H
#define SPUTNIK_RUNTIME_GPU_CUDADRIVER_H

#include "runtime/Result.h"

#include <cstddef>
#include <cstdint>

namespace sputnik::rt::cuda {

// Types and numbers of NVIDIA's "CUDA Driver API" reference.
using Code = int;
using Device = int;
using Address = uint64_t;
using Context = struct ContextData *;
using Module = struct ModuleData *;
using Function = struct FunctionData *;
using Stream = struct StreamData *;
using Graph = struct GraphData *;
using GraphExec = struct GraphExecData *;
using Event = struct EventData *;

inline constexpr Code kSuccess = 0, kNotReady = 600;
// CUdevice_attribute
inline constexpr int kProcessors = 16, kL2Bytes = 38, kMajor = 75, kMinor = 76;
inline constexpr int kMaxDynamicSharedBytes = 8;   // CUfunction_attribute
inline constexpr unsigned kNonBlocking = 1;        // CUstream_flags
inline constexpr unsigned kDeviceMapped = 2;       // CU_MEMHOSTALLOC_*
inline constexpr int kCaptureThreadLocal = 1;      // CUstreamCaptureMode
inline constexpr int kProgrammaticSerialization = 6; // CUlaunchAttributeID
inline constexpr int kErrorLog = 5, kErrorLogBytes = 6; // CUjit_option
/// CUlaunchAttribute, of which one number is used.
struct LaunchAttribute {
  int id;
  int pad;
  union {
    int number;
    char bytes[64];
  } value;
};

/// CUlaunchConfig.
struct LaunchShape {
  unsigned gridX, gridY, gridZ;
  unsigned blockX, blockY, blockZ;
  unsigned sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};

/// The first driver that has all of the functions; some chips need a later one
/// for their kernels.
inline constexpr int kDriverVersion = 12000;
/// The first whose graphs let kernels start before the one before has ended.
inline constexpr int kDependentLaunchVersion = 12030;

/// Every function, its name in the library, its arguments.
#define SPUTNIK_CUDA_FUNCTIONS(F)                                              \
  F(init, cuInit, (unsigned flags))                                            \
  F(driverGetVersion, cuDriverGetVersion, (int *version))                      \
  F(getErrorString, cuGetErrorString, (Code code, const char **text))          \
  F(deviceGetCount, cuDeviceGetCount, (int *count))                            \
  F(deviceGet, cuDeviceGet, (Device * device, int ordinal))                    \
  F(deviceGetName, cuDeviceGetName, (char *name, int length, Device device))   \
  F(deviceGetAttribute, cuDeviceGetAttribute,                                  \
    (int *value, int attribute, Device device))                                \
  F(contextRetain, cuDevicePrimaryCtxRetain,                                   \
    (Context * context, Device device))                                        \
  F(contextRelease, cuDevicePrimaryCtxRelease_v2, (Device device))             \
  F(contextSetCurrent, cuCtxSetCurrent, (Context context))                     \
  F(memGetInfo, cuMemGetInfo_v2, (size_t * free, size_t *total))               \
  F(memAlloc, cuMemAlloc_v2, (Address * address, size_t bytes))                \
  F(memFree, cuMemFree_v2, (Address address))                                  \
  F(hostAddress, cuMemHostGetDevicePointer_v2,                                 \
    (Address * address, void *memory, unsigned flags))                         \
  F(memSet, cuMemsetD8Async,                                                   \
    (Address address, unsigned char value, size_t bytes, Stream stream))       \
  F(copyToDevice, cuMemcpyHtoDAsync_v2,                                        \
    (Address to, const void *from, size_t bytes, Stream stream))               \
  F(copyToHost, cuMemcpyDtoHAsync_v2,                                          \
    (void *to, Address from, size_t bytes, Stream stream))                     \
  F(hostAlloc, cuMemHostAlloc,                                                 \
    (void **memory, size_t bytes, unsigned flags))                             \
  F(hostFree, cuMemFreeHost, (void *memory))                                   \
  F(copyOnDevice, cuMemcpyDtoDAsync_v2,                                        \
    (Address to, Address from, size_t bytes, Stream stream))                   \
  F(eventCreate, cuEventCreate, (Event * event, unsigned flags))               \
  F(eventDestroy, cuEventDestroy_v2, (Event event))                            \
  F(eventRecord, cuEventRecord, (Event event, Stream stream))                  \
  F(eventSynchronize, cuEventSynchronize, (Event event))                       \
  F(eventElapsed, cuEventElapsedTime,                                          \
    (float *milliseconds, Event start, Event end))                             \
  F(streamCreate, cuStreamCreate, (Stream * stream, unsigned flags))           \
  F(streamDestroy, cuStreamDestroy_v2, (Stream stream))                        \
  F(streamSynchronize, cuStreamSynchronize, (Stream stream))                   \
  F(streamQuery, cuStreamQuery, (Stream stream))                               \
  F(moduleLoad, cuModuleLoadDataEx,                                            \
    (Module * module, const void *image, unsigned count, int *options,         \
     void **values))                                                           \
  F(moduleUnload, cuModuleUnload, (Module module))                             \
  F(moduleGetFunction, cuModuleGetFunction,                                    \
    (Function * function, Module module, const char *name))                    \
  F(functionSetAttribute, cuFuncSetAttribute,                                  \
    (Function function, int attribute, int value))                             \
  F(launch, cuLaunchKernel,                                                    \
    (Function function, unsigned gridX, unsigned gridY, unsigned gridZ,        \
     unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,  \
     Stream stream, void **arguments, void **extra))                           \
  F(launchEx, cuLaunchKernelEx,                                                \
    (const LaunchShape *shape, Function function, void **arguments,            \
     void **extra))                                                            \
  F(captureBegin, cuStreamBeginCapture_v2, (Stream stream, int mode))          \
  F(captureEnd, cuStreamEndCapture, (Stream stream, Graph * graph))            \
  F(graphInstantiate, cuGraphInstantiateWithFlags,                             \
    (GraphExec * exec, Graph graph, unsigned long long flags))                 \
  F(graphDestroy, cuGraphDestroy, (Graph graph))                               \
  F(graphExecDestroy, cuGraphExecDestroy, (GraphExec exec))                    \
  F(graphLaunch, cuGraphLaunch, (GraphExec exec, Stream stream))

/// The functions of libcuda.so.1, which is part of NVIDIA's driver, not of an
/// executable.
struct Driver {
#define SPUTNIK_DECLARE(member, symbol, arguments) Code(*member) arguments;
  SPUTNIK_CUDA_FUNCTIONS(SPUTNIK_DECLARE)
#undef SPUTNIK_DECLARE

  int version = 0; ///< 1000 * major + 10 * minor of the CUDA that it is for.

  /// Loads the library. Fails where there is none, or one too old.
  static Result<Driver> load();

  /// What went wrong, for an error: `what` and the driver's words.
  Status check(Code code, const char *what) const;
};

} // namespace sputnik::rt::cuda

#endif // SPUTNIK_RUNTIME_GPU_CUDADRIVER_H
