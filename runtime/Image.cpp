//===- Image.cpp - The packed weights -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Image.h"
#include "runtime/Executable.h"
#include "runtime/WeightPages.h"

#include <cstring>
#include <sys/sysinfo.h>

namespace sputnik::rt {

/// Whether the image with this header belongs to `model`. `where` names it.
static Status checkHeader(const abi::Model &model,
                          const abi::ImageHeader &header,
                          const std::string &where) {
  if (std::memcmp(header.magic, abi::kImageMagic, sizeof(header.magic)) != 0)
    return SPUTNIK_ERROR("%s: not a weight image: it does not begin with %.8s",
                         where.c_str(), abi::kImageMagic);
  if (header.weightBytes != model.weightBytes)
    return SPUTNIK_ERROR("%s: holds %llu bytes of weights, expected %llu",
                         where.c_str(),
                         static_cast<unsigned long long>(header.weightBytes),
                         static_cast<unsigned long long>(model.weightBytes));
  if (std::memcmp(header.id, model.imageId, sizeof(header.id)) != 0)
    return SPUTNIK_ERROR(
        "%s: the weights belong to another executable than this one",
        where.c_str());
  return {};
}

/// Memory of the weights, to which every thread of `pool` has brought its own pages
/// first, by fill(weights, begin, end).
template <typename Fill>
static Result<Mapping> bringPages(const abi::Model &model, ThreadPool &pool,
                                  Fill &&fill) {
  Result<Mapping> mapping =
      Mapping::anonymous(model.weightBytes, "the weights");
  if (!mapping)
    return mapping;
  uint8_t *weights = mapping->data();
  const WeightPages pages({model.shares, model.shareCount}, model.weightBytes);
  if (pool.nodes() == 1) {
    preferLargePages(weights, mapping->size());
  } else {
    preferSmallPages(weights, mapping->size());
    pages.forLarge(pool.nodes(), [&](uint64_t begin, uint64_t end) {
      preferLargePages(weights + begin, end - begin);
    });
  }
  pool.parallel([&](int64_t thread, int64_t threads) {
    pages.forOwn(thread, threads, [&](uint64_t begin, uint64_t end) {
      fill(weights, begin, end);
    });
  });
  return mapping;
}

static Result<Mapping> makeRandomWeights(const abi::Model &model,
                                         ThreadPool &pool) {
  struct sysinfo machine;
  if (sysinfo(&machine) == 0) {
    const uint64_t memory =
        static_cast<uint64_t>(machine.totalram) * machine.mem_unit;
    if (model.weightBytes > memory)
      return SPUTNIK_ERROR("random weights take %llu bytes of memory, this "
                           "machine has %llu",
                           static_cast<unsigned long long>(model.weightBytes),
                           static_cast<unsigned long long>(memory));
  }
  return bringPages(model, pool,
                    [&](uint8_t *weights, uint64_t begin, uint64_t end) {
                      model.fillRandom(weights, begin, end, model.seed);
                    });
}

Status Image::copyToNodes(const abi::Model &model, ThreadPool &pool) {
  const uint8_t *source = begin;
  Result<Mapping> copy = bringPages(
      model, pool, [&](uint8_t *weights, uint64_t from, uint64_t to) {
        std::memcpy(weights + from, source + from, to - from);
      });
  if (!copy)
    return copy.error();
  // The file's pages are the system's to keep or not.
  dropPages(source, model.weightBytes);
  mapping = std::move(*copy);
  begin = mapping.data();
  return {};
}

Result<Image> Image::open(const abi::Model &model, const uint8_t *embedded,
                          const std::string &executablePath, ThreadPool &pool) {
  Image image;
  const uint64_t imageBytes = abi::kImageHeaderBytes + model.weightBytes;
  switch (model.weightSource) {
  case abi::kEmbedded: {
    if (Status status = checkMappedFromExecutable(
            embedded, abi::kImageHeaderBytes, executablePath);
        !status)
      return status.error();
    if (Status status = checkHeader(
            model, *reinterpret_cast<const abi::ImageHeader *>(embedded),
            executablePath);
        !status)
      return status.error();
    if (Status status =
            checkMappedFromExecutable(embedded, imageBytes, executablePath);
        !status)
      return status.error();
    preferLargePages(embedded, imageBytes);
    image.begin = embedded + abi::kImageHeaderBytes;
    return image;
  }
  case abi::kBeside: {
    if (executablePath.empty())
      return SPUTNIK_ERROR("cannot find the weights: the kernel does not tell "
                           "the path of this executable");
    const std::string path = executablePath + ".weights";
    Result<Mapping> mapping = Mapping::file(path);
    if (!mapping)
      return mapping.error();
    if (mapping->size() < abi::kImageHeaderBytes)
      return SPUTNIK_ERROR("%s: has %llu bytes, expected %llu", path.c_str(),
                           static_cast<unsigned long long>(mapping->size()),
                           static_cast<unsigned long long>(imageBytes));
    if (Status status = checkHeader(
            model, *reinterpret_cast<const abi::ImageHeader *>(mapping->data()),
            path);
        !status)
      return status.error();
    if (mapping->size() != imageBytes)
      return SPUTNIK_ERROR("%s: has %llu bytes, expected %llu", path.c_str(),
                           static_cast<unsigned long long>(mapping->size()),
                           static_cast<unsigned long long>(imageBytes));
    preferLargePages(mapping->data(), imageBytes);
    image.mapping = std::move(*mapping);
    image.begin = image.mapping.data() + abi::kImageHeaderBytes;
    return image;
  }
  case abi::kRandom: {
    Result<Mapping> mapping = makeRandomWeights(model, pool);
    if (!mapping)
      return mapping.error();
    image.mapping = std::move(*mapping);
    image.begin = image.mapping.data();
    return image;
  }
  }
  return SPUTNIK_ERROR("this executable keeps its weights in an unknown way "
                       "(%u)",
                       model.weightSource);
}

} // namespace sputnik::rt
