//===- SomeModel.h - The fake model ready to run, and texts for it -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_TEST_UNIT_RUNTIME_SOMEMODEL_H
#define SPUTNIK_TEST_UNIT_RUNTIME_SOMEMODEL_H

#include "FakeModel.h"
#include "runtime/Engine.h"
#include "runtime/Random.h"

#include <gtest/gtest.h>

namespace sputnik::test {

/// `model` must outlive the engine.
inline std::unique_ptr<rt::Engine>
makeEngine(int64_t threads = 2, int64_t slots = 1,
           const abi::Model &model = sputnik_model) {
  rt::Result<std::unique_ptr<rt::Engine>> engine = rt::Engine::create(
      {model, sputnik_image_address(), 0}, {.threads = threads}, slots);
  EXPECT_TRUE(engine) << engine.error().message;
  return std::move(*engine);
}

inline std::vector<int32_t> someTokens(size_t count, uint64_t seed = 1) {
  rt::Random random(seed);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % fakeTokens));
  return tokens;
}

} // namespace sputnik::test

#endif // SPUTNIK_TEST_UNIT_RUNTIME_SOMEMODEL_H
