//===- CudaDriver.cpp - The part of the CUDA driver API in use ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/gpu/CudaDriver.h"

#include <dlfcn.h>

namespace sputnik::rt::cuda {

Status Driver::check(Code code, const char *what) const {
  if (code == kSuccess)
    return {};
  const char *text = nullptr;
  if (getErrorString(code, &text) != kSuccess || !text)
    text = "unknown error";
  return SPUTNIK_ERROR("GPU: %s: %s (CUDA error %d)", what, text, code);
}

Result<Driver> Driver::load() {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return SPUTNIK_ERROR("GPU: there is no NVIDIA driver: %s", dlerror());
  Driver driver;
#define SPUTNIK_LOOK_UP(member, symbol, arguments)                             \
  driver.member = reinterpret_cast<Code(*) arguments>(dlsym(library, #symbol)); \
  if (!driver.member)                                                          \
    return SPUTNIK_ERROR("GPU: the NVIDIA driver has no %s: it is older than " \
                         "CUDA %d.%d",                                         \
                         #symbol, kDriverVersion / 1000,                       \
                         kDriverVersion % 1000 / 10);
  SPUTNIK_CUDA_FUNCTIONS(SPUTNIK_LOOK_UP)
#undef SPUTNIK_LOOK_UP
  if (Status status = driver.check(driver.init(0), "the driver does not start");
      !status)
    return status.error();
  if (Status status =
          driver.check(driver.driverGetVersion(&driver.version), "no version");
      !status)
    return status.error();
  if (driver.version < kDriverVersion)
    return SPUTNIK_ERROR("GPU: the NVIDIA driver is for CUDA %d.%d, expected "
                         "%d.%d or later",
                         driver.version / 1000, driver.version % 1000 / 10,
                         kDriverVersion / 1000, kDriverVersion % 1000 / 10);
  return driver;
}

} // namespace sputnik::rt::cuda
