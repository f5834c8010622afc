//===- GraphTest.cpp - Modules that the importer writes -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/Graph.h"

#include "importer/InputError.h"
#include "test/unit/importer/CheckpointFolder.h"
#include "test/unit/importer/Failure.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include "gtest/gtest.h"

#include <cstdlib>

using namespace llvm;

namespace sputnik::testing {
namespace {

std::string golden(StringRef model) {
  return (SPUTNIK_SOURCE_DIR "/test/golden/" + model).str();
}

class Graph : public ::testing::Test {
protected:
  /// Imports and verifies.
  mlir::OwningOpRef<mlir::ModuleOp> import(const Checkpoint &checkpoint,
                                           ImportOptions options = {}) {
    Expected<mlir::OwningOpRef<mlir::ModuleOp>> module =
        importModel(checkpoint, context, options);
    if (!module) {
      ADD_FAILURE() << toString(module.takeError());
      return nullptr;
    }
    EXPECT_TRUE(succeeded(mlir::verify(**module)));
    return std::move(*module);
  }
  mlir::OwningOpRef<mlir::ModuleOp> import(StringRef model,
                                           ImportOptions options = {}) {
    Expected<Checkpoint> checkpoint = Checkpoint::open(golden(model));
    if (!checkpoint) {
      ADD_FAILURE() << toString(checkpoint.takeError());
      return nullptr;
    }
    return import(*checkpoint, options);
  }
  std::string errorOf(const Checkpoint &checkpoint,
                      ImportOptions options = {}) {
    Expected<mlir::OwningOpRef<mlir::ModuleOp>> module =
        importModel(checkpoint, context, options);
    if (!module)
      return toString(module.takeError());
    ADD_FAILURE() << "expected an error";
    return "";
  }

  template <typename Op> static unsigned count(mlir::ModuleOp module) {
    unsigned found = 0;
    module->walk([&](Op) { ++found; });
    return found;
  }
  static r1::KVCacheType cacheType(mlir::ModuleOp module) {
    auto forward = module.lookupSymbol<mlir::func::FuncOp>("forward");
    return cast<r1::KVCacheType>(forward.getArgumentTypes()[4]);
  }

  /// A checkpoint of these tensors, all zeros.
  Expected<Checkpoint> open(ArrayRef<ShapedTensor> tensors,
                            StringRef modelType = "qwen2") {
    folder.write("config.json", smallConfig(modelType));
    folder.write("model.safetensors", safeTensorsOfZeros(tensors));
    return Checkpoint::open(folder.path());
  }

  mlir::MLIRContext context;
  CheckpointFolder folder;
};

TEST_F(Graph, GoldensVerify) {
  for (StringRef model :
       {"qwen2-hd80-g1", "qwen2-hd64-g3-tied", "qwen2-hd64-g7-sharded",
        "llama-hd64-g3-llama3", "llama-hd128-g7-tied", "llama-hd80-g1",
        "qwen3-hd128-g3-yarn", "qwen3-hd80-g7-tied"}) {
    SCOPED_TRACE(model.str());
    EXPECT_TRUE(import(model));
  }
}

TEST_F(Graph, Qwen2HasBiasesAndQwen3HeadNorms) {
  auto qwen2 = import("qwen2-hd80-g1");
  EXPECT_TRUE(qwen2->lookupSymbol("attn_k_bias"));
  EXPECT_FALSE(qwen2->lookupSymbol("k_norm"));
  EXPECT_EQ(count<r1::RMSNormOp>(*qwen2), 3u);
  auto qwen3 = import("qwen3-hd128-g3-yarn");
  EXPECT_FALSE(qwen3->lookupSymbol("attn_k_bias"));
  EXPECT_TRUE(qwen3->lookupSymbol("k_norm"));
  EXPECT_EQ(count<r1::RMSNormOp>(*qwen3), 5u);
}

TEST_F(Graph, YarnScalesCosAndSin) {
  auto module = import("qwen3-hd80-g7-tied");
  module->walk([](r1::RopeTableOp table) {
    EXPECT_EQ(table.getMagnitude().convertToFloat(), 0.9f);
    EXPECT_EQ(table.getFrequencies().size(), 40u);
  });
  EXPECT_EQ(count<r1::RopeTableOp>(*module), 1u);
}

TEST_F(Graph, TiedHeadReadsTheEmbedding) {
  auto tied = import("qwen2-hd64-g3-tied");
  EXPECT_FALSE(tied->lookupSymbol("head"));
  unsigned users = 0;
  tied->walk([&](r1::LinearOp op) { users += op.getWeight() == "embed"; });
  EXPECT_EQ(users, 1u);
  EXPECT_TRUE(import("qwen2-hd80-g1")->lookupSymbol("head"));
}

TEST_F(Graph, OriginsNameTheBytesOfEachLayer) {
  Expected<Checkpoint> checkpoint =
      Checkpoint::open(golden("qwen2-hd64-g7-sharded"));
  EXPECT_VALUE(checkpoint);
  auto module = import(*checkpoint);
  auto down = module->lookupSymbol<r1::WeightOp>("ffn_down");
  ASSERT_TRUE(down);
  ASSERT_EQ(down.getLayers(), checkpoint->config().layers);
  StringSet<> files;
  for (auto [layer, attribute] : enumerate(down.getOrigins())) {
    auto origin = cast<r1::OriginAttr>(attribute);
    const TensorRef *tensor = checkpoint->find(
        ("model.layers." + Twine(layer) + ".mlp.down_proj.weight").str());
    ASSERT_TRUE(tensor);
    EXPECT_EQ(origin.getOffset(), tensor->offset);
    EXPECT_EQ(origin.getBytes(), tensor->bytes);
    EXPECT_EQ(origin.getStored(), "F32");
    EXPECT_TRUE(StringRef(checkpoint->files()[tensor->file].path())
                    .ends_with(origin.getFile()));
  }
}

TEST_F(Graph, GgufRowsOfQueriesAndKeysAreUnpermuted) {
  SmallVector<std::string> models;
  for (StringRef folder :
       {"llama-hd64-g3-llama3-gguf-f32", "llama-hd64-g3-llama3-gguf-q8_0",
        "qwen2-hd64-g3-tied-gguf-q8_0"}) {
    std::error_code error;
    std::string first;
    for (sys::fs::directory_iterator it(golden(folder), error), end;
         it != end && !error; it.increment(error))
      if (StringRef(it->path()).ends_with(".gguf") &&
          (first.empty() || it->path() < first))
        first = it->path();
    ASSERT_FALSE(first.empty()) << folder.str();
    models.push_back(first);
  }
  for (StringRef model : ArrayRef(models).take_front(2)) {
    Expected<Checkpoint> checkpoint = Checkpoint::open(model);
    EXPECT_VALUE(checkpoint);
    auto module = import(*checkpoint);
    EXPECT_EQ(count<r1::UnpermuteOp>(*module), 2u);
    auto query = module->lookupSymbol<r1::DerivedOp>("attn_q");
    ASSERT_TRUE(query);
    EXPECT_EQ(query.getLayers(), checkpoint->config().layers);
    query.walk([](r1::UnpermuteOp op) { EXPECT_EQ(op.getHeadDim(), 64u); });
    EXPECT_TRUE(module->lookupSymbol<r1::WeightOp>("attn_q_interleaved"));
    EXPECT_TRUE(module->lookupSymbol<r1::DerivedOp>("attn_k"));
    EXPECT_TRUE(module->lookupSymbol<r1::WeightOp>("attn_v"));
  }
  Expected<Checkpoint> qwen = Checkpoint::open(models[2]);
  EXPECT_VALUE(qwen);
  EXPECT_EQ(count<r1::DerivedOp>(*import(*qwen)), 0u);
}

TEST_F(Graph, CacheTakesContextAndElement) {
  auto bf16 = mlir::BFloat16Type::get(&context);
  context.loadDialect<r1::R1Dialect>();
  auto module = import("qwen2-hd80-g1", {.kvElement = bf16, .maxContext = 17});
  r1::KVCacheType type = cacheType(*module);
  EXPECT_EQ(type.getPositions(), 32);
  EXPECT_EQ(type.getElement(), bf16);
  EXPECT_EQ(type.getDim(), 80);
  EXPECT_TRUE(cacheType(*import("qwen2-hd80-g1")).getElement().isF32());
}

TEST_F(Graph, CacheOfBytes) {
  context.loadDialect<r1::R1Dialect>();
  auto bytes = mlir::IntegerType::get(&context, 8);
  auto module = import("qwen2-hd80-g1", {.kvElement = bytes});
  // Of each position, head and layer: 80 features of a key filled up to three
  // blocks with scales, and of a value with one scale.
  EXPECT_EQ(cacheType(*module).getTokenBytes(),
            2 * 2 * (3 * (32 + 4) + 80 + 4));

  Expected<Checkpoint> latent =
      Checkpoint::open(golden("deepseek-g8-noqlora"));
  EXPECT_VALUE(latent);
  EXPECT_TRUE(StringRef(errorOf(*latent, {.kvElement = bytes}))
                  .contains("a cache of 8 bits is asked for, expected keys and "
                            "values of heads with a multiple of 16 features, "
                            "found latents"));
}

TEST_F(Graph, ConfigurationAloneMakesRandomWeights) {
  folder.write("config.json", smallConfig("qwen2"));
  Expected<Checkpoint> checkpoint = Checkpoint::openConfigOnly(folder.path());
  EXPECT_VALUE(checkpoint);
  auto module = import(*checkpoint, {.randomWeights = true});
  module->walk([](r1::WeightOp weight) {
    for (auto origin : weight.getOrigins().getAsRange<r1::OriginAttr>()) {
      EXPECT_EQ(origin.getFile(), "");
      EXPECT_EQ(origin.getBytes(), 0u);
      EXPECT_EQ(origin.getStored(), kRandomStored);
    }
  });
  EXPECT_EQ(cacheType(*module).getPositions(), 64);
}

TEST_F(Graph, OtherTensorsAreIgnored) {
  std::vector<ShapedTensor> tensors = smallTensors("qwen2");
  tensors.push_back({"model.layers.2.mlp.up_proj.weight", "I32", {3}, 12});
  tensors.push_back({"model.rotary_emb.inv_freq", "F32", {2}, 8});
  auto checkpoint = open(tensors);
  EXPECT_VALUE(checkpoint);
  auto module = import(*checkpoint);
  EXPECT_EQ(module->lookupSymbol<r1::WeightOp>("attn_q").getLayers(), 2u);
}

TEST_F(Graph, MissingTensor) {
  for (const ShapedTensor &missing : smallTensors("qwen2")) {
    std::vector<ShapedTensor> tensors = smallTensors("qwen2");
    erase_if(tensors, [&](const ShapedTensor &tensor) {
      return tensor.name == missing.name;
    });
    auto checkpoint = open(tensors);
    EXPECT_VALUE(checkpoint);
    // Without a head the embedding is it.
    if (missing.name != "lm_head.weight")
      EXPECT_EQ(errorOf(*checkpoint), folder.path() + ": has no tensor '" +
                                          missing.name + "', expected " +
                                          shapeText(missing.shape));
    else
      EXPECT_TRUE(import(*checkpoint));
  }
}

TEST_F(Graph, TensorsWithARowTooMany) {
  for (const ShapedTensor &wrong : smallTensors("qwen3")) {
    std::vector<ShapedTensor> tensors = smallTensors("qwen3");
    std::vector<int64_t> found = wrong.shape;
    ++found[0];
    for (ShapedTensor &tensor : tensors)
      if (tensor.name == wrong.name) {
        tensor.bytes += tensor.bytes / tensor.shape[0];
        tensor.shape = found;
      }
    auto checkpoint = open(tensors, "qwen3");
    EXPECT_VALUE(checkpoint);
    EXPECT_EQ(errorOf(*checkpoint), folder.path("model.safetensors") +
                                        ": tensor '" + wrong.name +
                                        "' has the shape " + shapeText(found) +
                                        ", expected " + shapeText(wrong.shape));
  }
}

TEST_F(Graph, ContextBeyondTheModels) {
  folder.write("config.json", smallConfig("llama"));
  Expected<Checkpoint> checkpoint = Checkpoint::openConfigOnly(folder.path());
  EXPECT_VALUE(checkpoint);
  EXPECT_EQ(errorOf(*checkpoint, {.maxContext = 65, .randomWeights = true}),
            folder.path() + ": is made for a context of 64 positions, expected "
                            "at most that, found 65");
}

} // namespace
} // namespace sputnik::testing
