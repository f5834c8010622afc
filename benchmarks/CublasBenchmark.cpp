//===- CublasBenchmark.cpp - How fast cuBLAS multiplies -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cublas-benchmark ROWS FEATURES COLUMNS...: the rate of products of ROWS rows of
// COLUMNS bf16 values with FEATURES x COLUMNS weights, as prefill's linears have
// them, for each three numbers. Driver and library are opened when it runs; where
// one is missing, a line says so.
//
//===----------------------------------------------------------------------===//
#include "runtime/Random.h"
#include "runtime/gpu/CudaDriver.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <vector>

using namespace sputnik::rt;
using namespace sputnik::rt::cuda;

namespace {

// Of NVIDIA's "cuBLAS" reference.
using Handle = struct HandleData *;
constexpr int operationN = 0, operationT = 1;
constexpr int typeBf16 = 14, computeF32 = 68, defaultAlgorithm = -1;

struct Cublas {
  int (*create)(Handle *);
  int (*setStream)(Handle, Stream);
  int (*multiply)(Handle, int operationA, int operationB, int m, int n, int k,
                  const void *alpha, const void *a, int typeA, int strideA,
                  const void *b, int typeB, int strideB, const void *beta,
                  void *c, int typeC, int strideC, int compute, int algorithm);

  static Result<Cublas> load() {
    void *library = nullptr;
    for (const char *name : {"libcublas.so.13", "libcublas.so.12"})
      if (!library)
        library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return SPUTNIK_ERROR("cuBLAS is missing: %s", dlerror());
    Cublas cublas = {};
    cublas.create = reinterpret_cast<decltype(cublas.create)>(
        dlsym(library, "cublasCreate_v2"));
    cublas.setStream = reinterpret_cast<decltype(cublas.setStream)>(
        dlsym(library, "cublasSetStream_v2"));
    cublas.multiply = reinterpret_cast<decltype(cublas.multiply)>(
        dlsym(library, "cublasGemmEx"));
    if (!cublas.create || !cublas.setStream || !cublas.multiply)
      return Error{"cuBLAS lacks a function"};
    return cublas;
  }
};

struct Shape {
  int rows, features, columns;
};

class Benchmark {
public:
  Status open() {
    Result<Driver> loaded = Driver::load();
    if (!loaded)
      return loaded.error();
    driver = *loaded;
    Result<Cublas> library = Cublas::load();
    if (!library)
      return library.error();
    cublas = *library;
    Device device = 0;
    Context context = nullptr;
    for (Code code : {driver.deviceGet(&device, 0),
                      driver.contextRetain(&context, device),
                      driver.contextSetCurrent(context),
                      driver.streamCreate(&stream, kNonBlocking),
                      driver.eventCreate(&start, 0),
                      driver.eventCreate(&end, 0)})
      if (Status status = driver.check(code, "cannot be used"); !status)
        return status;
    if (cublas.create(&handle) != 0 || cublas.setStream(handle, stream) != 0)
      return Error{"cuBLAS does not start"};
    return {};
  }

  /// Operations a second: the median over single products.
  Result<double> measure(const Shape &shape) {
    const auto product = [](int a, int b) {
      return static_cast<uint64_t>(a) * static_cast<uint64_t>(b);
    };
    Result<Address> rows = random(product(shape.rows, shape.columns));
    if (!rows)
      return rows.error();
    Result<Address> weights = random(product(shape.features, shape.columns));
    if (!weights)
      return weights.error();
    Address result = 0;
    if (Status status = driver.check(
            driver.memAlloc(&result, 2 * product(shape.rows, shape.features)),
            "memory");
        !status)
      return status.error();
    std::vector<double> seconds;
    for (int i = -warmUps; i < repeats; ++i) {
      driver.eventRecord(start, stream);
      const float one = 1, zero = 0;
      // Column by column, the transposed result: weights^T times rows.
      if (cublas.multiply(
              handle, operationT, operationN, shape.features, shape.rows,
              shape.columns, &one, reinterpret_cast<void *>(*weights),
              typeBf16, shape.columns, reinterpret_cast<void *>(*rows),
              typeBf16, shape.columns, &zero, reinterpret_cast<void *>(result),
              typeBf16, shape.features, computeF32, defaultAlgorithm) != 0)
        return Error{"cuBLAS does not multiply"};
      driver.eventRecord(end, stream);
      if (Status status =
              driver.check(driver.streamSynchronize(stream), "a product");
          !status)
        return status.error();
      float milliseconds = 0;
      driver.eventElapsed(&milliseconds, start, end);
      if (i >= 0)
        seconds.push_back(static_cast<double>(milliseconds) * 1e-3);
    }
    for (Address address : {*rows, *weights, result})
      driver.memFree(address);
    std::sort(seconds.begin(), seconds.end());
    return 2 * static_cast<double>(product(shape.rows, shape.features)) *
           shape.columns / seconds[seconds.size() / 2];
  }

private:
  static constexpr int warmUps = 5, repeats = 30;

  /// Random values: the rate depends on how many bits change.
  Result<Address> random(uint64_t count) {
    Random generator(count);
    std::vector<uint16_t> values(count);
    for (uint16_t &value : values)
      value = static_cast<uint16_t>((generator.next() & 0x807f) | 0x3c80);
    Address address = 0;
    if (Status status =
            driver.check(driver.memAlloc(&address, 2 * count), "memory");
        !status)
      return status.error();
    driver.copyToDevice(address, values.data(), 2 * count, stream);
    if (Status status =
            driver.check(driver.streamSynchronize(stream), "memory");
        !status)
      return status.error();
    return address;
  }

  Driver driver = {};
  Cublas cublas = {};
  Handle handle = nullptr;
  Stream stream = nullptr;
  Event start = nullptr, end = nullptr;
};

} // namespace

static int fail(const Error &error) {
  std::fprintf(stderr, "error: %s\n", error.message.c_str());
  return 1;
}

int main(int argc, char **argv) {
  std::vector<int> numbers;
  for (int i = 1; i < argc; ++i) {
    int value = 0;
    const char *last = argv[i] + std::strlen(argv[i]);
    const auto [rest, error] = std::from_chars(argv[i], last, value);
    if (error != std::errc() || rest != last || value < 1) {
      std::fprintf(stderr, "error: '%s' is not a size\n", argv[i]);
      return 2;
    }
    numbers.push_back(value);
  }
  if (numbers.empty() || numbers.size() % 3 != 0) {
    std::fprintf(stderr, "usage: cublas-benchmark ROWS FEATURES COLUMNS...\n");
    return 2;
  }
  Benchmark benchmark;
  if (Status status = benchmark.open(); !status)
    return fail(status.error());
  for (size_t i = 0; i < numbers.size(); i += 3) {
    const Shape shape = {numbers[i], numbers[i + 1], numbers[i + 2]};
    const Result<double> rate = benchmark.measure(shape);
    if (!rate)
      return fail(rate.error());
    std::printf("cuBLAS %d rows, %d features, %d columns, bf16: %.1f TOP/s\n",
                shape.rows, shape.features, shape.columns, *rate * 1e-12);
  }
  return 0;
}
