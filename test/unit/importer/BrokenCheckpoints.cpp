//===- BrokenCheckpoints.cpp - Folders and files that must be refused -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CheckpointFolder.h"
#include "Failure.h"

#include "importer/Checkpoint.h"

#include <functional>
#include <limits>

#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;

namespace sputnik::testing {
namespace {

struct Broken {
  const char *name;
  std::function<void(const CheckpointFolder &)> write;
  const char *open; ///< What is opened, relative to the folder.
  const char *file; ///< The file that the error begins with.
  const char *expected;
};

/// A sharded model whose index is this text.
std::function<void(const CheckpointFolder &)> withIndex(std::string text) {
  return [text = std::move(text)](const CheckpointFolder &folder) {
    folder.writeSharded();
    folder.write("model.safetensors.index.json", text);
  };
}

/// The parts of a split GGUF file; `breakIt` gets the writer of each.
std::function<void(const CheckpointFolder &)>
withParts(std::function<void(GgufWriter &first, GgufWriter &second)> breakIt) {
  return [breakIt = std::move(breakIt)](const CheckpointFolder &folder) {
    GgufWriter first = smallGguf("llama");
    first.u16("split.no", 0).u16("split.count", 2);
    GgufWriter second;
    second.u16("split.no", 1)
        .u16("split.count", 2)
        .tensor("extra", {4}, 0, std::string(16, 'e'));
    breakIt(first, second);
    folder.write("m-00001-of-00002.gguf", first.build());
    folder.write("m-00002-of-00002.gguf", second.build());
  };
}

std::function<void(const CheckpointFolder &)>
withGguf(std::function<void(GgufWriter &)> breakIt) {
  return [breakIt = std::move(breakIt)](const CheckpointFolder &folder) {
    GgufWriter writer = smallGguf("llama");
    breakIt(writer);
    folder.write("m.gguf", writer.build());
  };
}

constexpr const char *index = "model.safetensors.index.json";
constexpr const char *part1 = "m-00001-of-00002.gguf";
constexpr const char *part2 = "m-00002-of-00002.gguf";

const Broken cases[] = {
    {"nothing there", [](const CheckpointFolder &) {}, "absent", "absent",
     "cannot open: No such file or directory"},
    {"empty folder", [](const CheckpointFolder &) {}, "", "config.json",
     "cannot open: No such file or directory"},
    {"config only",
     [](const CheckpointFolder &folder) {
       folder.write("config.json", smallConfig("llama"));
     },
     "", "", "has neither model.safetensors nor model.safetensors.index.json"},
    {"config is a folder",
     [](const CheckpointFolder &folder) {
       EXPECT_FALSE(sys::fs::create_directory(folder.path("config.json")));
     },
     "", "config.json", "is a folder, expected a file"},
    {"config is empty",
     [](const CheckpointFolder &folder) {
       folder.writeSingle();
       folder.write("config.json", "");
     },
     "", "config.json", "not valid JSON"},
    {"config is a pipe",
     [](const CheckpointFolder &folder) {
       EXPECT_EQ(mkfifo(folder.path("config.json").c_str(), 0600), 0);
     },
     "", "config.json", "is a pipe, expected a regular file"},
    {"config is a loop of links",
     [](const CheckpointFolder &folder) {
       EXPECT_EQ(symlink("config.json", folder.path("config.json").c_str()), 0);
     },
     "", "config.json", "cannot open: Too many levels of symbolic links"},
    {"config is a device",
     [](const CheckpointFolder &folder) {
       EXPECT_EQ(symlink("/dev/zero", folder.path("config.json").c_str()), 0);
     },
     "", "config.json", "is not a regular file"},
    {"config is too large",
     [](const CheckpointFolder &folder) {
       folder.write("config.json", "{");
       EXPECT_EQ(truncate(folder.path("config.json").c_str(), off_t(1) << 40),
                 0);
     },
     "", "config.json", "has 1099511627776 bytes, expected at most"},
    {"weights are a folder",
     [](const CheckpointFolder &folder) {
       folder.write("config.json", smallConfig("llama"));
       EXPECT_FALSE(
           sys::fs::create_directory(folder.path("model.safetensors")));
     },
     "", "model.safetensors", "is a folder, expected a file"},
    {"weights are a pipe",
     [](const CheckpointFolder &folder) {
       folder.write("config.json", smallConfig("llama"));
       EXPECT_EQ(mkfifo(folder.path("model.safetensors").c_str(), 0600), 0);
     },
     "", "model.safetensors", "is a pipe, expected a regular file"},
    {"weights are empty",
     [](const CheckpointFolder &folder) {
       folder.writeSingle();
       folder.write("model.safetensors", "");
     },
     "", "model.safetensors", "has 0 bytes"},
    {"weights are cut",
     [](const CheckpointFolder &folder) {
       folder.writeSingle();
       std::string whole = safeTensorsOfZeros(smallTensors("llama"));
       folder.write("model.safetensors", StringRef(whole).drop_back(1));
     },
     "", "model.safetensors", "but the file has only"},
    {"generation config broken",
     [](const CheckpointFolder &folder) {
       folder.writeSingle();
       folder.write("generation_config.json", "{\"eos_token_id\": 11}");
     },
     "", "generation_config.json", "key 'eos_token_id' is 11"},
    {"index is not JSON", withIndex("{"), "", index, "not valid JSON"},
    {"index is an array", withIndex("[]"), "", index,
     "has no 'weight_map' object"},
    {"index without a map", withIndex("{\"metadata\": {}}"), "", index,
     "has no 'weight_map' object"},
    {"map is a list", withIndex("{\"weight_map\": []}"), "", index,
     "has no 'weight_map' object"},
    {"map is empty", withIndex("{\"weight_map\": {}}"), "", index,
     "'weight_map' is empty"},
    {"map names a tensor twice",
     withIndex("{\"weight_map\": {\"a\": \"x\", \"a\": \"y\"}}"), "", index,
     "the key 'a' occurs twice"},
    {"shard is a number", withIndex("{\"weight_map\": {\"a\": 1}}"), "", index,
     "the file of tensor 'a' is not a string"},
    {"shard without a name", withIndex("{\"weight_map\": {\"a\": \"\"}}"), "",
     index, "the file of tensor 'a' is '', expected a plain file name"},
    {"shard in another folder",
     withIndex("{\"weight_map\": {\"a\": \"../x.safetensors\"}}"), "", index,
     "is '../x.safetensors', expected a plain file name"},
    {"shard at an absolute path",
     withIndex("{\"weight_map\": {\"a\": \"/etc/passwd\"}}"), "", index,
     "is '/etc/passwd', expected a plain file name"},
    {"shard is the folder above",
     withIndex("{\"weight_map\": {\"a\": \"..\"}}"), "", index,
     "is '..', expected a plain file name"},
    {"shard with a NUL", withIndex("{\"weight_map\": {\"a\": \"x\\u0000y\"}}"),
     "", index, "expected a plain file name"},
    {"shard is missing",
     [](const CheckpointFolder &folder) {
       folder.writeSharded();
       folder.remove(CheckpointFolder::shardName(1));
     },
     "", "model-00002-of-00002.safetensors",
     "cannot open: No such file or directory"},
    {"shard is broken",
     [](const CheckpointFolder &folder) {
       folder.writeSharded();
       folder.write(CheckpointFolder::shardName(1), "123");
     },
     "", "model-00002-of-00002.safetensors", "has 3 bytes"},
    {"shard lacks a tensor",
     withIndex("{\"weight_map\": {\"a\": "
               "\"model-00001-of-00002.safetensors\"}}"),
     "", index, "tensor 'a' is not in 'model-00001-of-00002.safetensors'"},
    {"a safetensors file itself",
     [](const CheckpointFolder &folder) { folder.writeSingle(); },
     "model.safetensors", "model.safetensors",
     "is neither a folder with config.json nor a GGUF file"},
    {"an empty GGUF file",
     [](const CheckpointFolder &folder) { folder.write("m.gguf", ""); },
     "m.gguf", "m.gguf", "is neither a folder"},
    {"a pipe as GGUF",
     [](const CheckpointFolder &folder) {
       EXPECT_EQ(mkfifo(folder.path("m.gguf").c_str(), 0600), 0);
     },
     "m.gguf", "m.gguf", "is a pipe, expected a regular file"},
    {"two GGUF names for one tensor", withGguf([](GgufWriter &w) {
       w.tensor("model.norm.weight", {8}, 0, std::string(32, '\0'));
     }),
     "m.gguf", "m.gguf", "tensor 'model.norm.weight' occurs a second time"},
    {"more tokens than rows", withGguf([](GgufWriter &w) {
       w.drop("tokenizer.ggml.tokens")
           .drop("tokenizer.ggml.token_type")
           .strings("tokenizer.ggml.tokens", std::vector<std::string>(12, "t"));
     }),
     "m.gguf", "m.gguf", "has 12 tokens, but its embedding has only 11 rows"},
    {"RoPE divisors and a scaling", withGguf([](GgufWriter &w) {
       w.text("llama.rope.scaling.type", "yarn")
           .f32("llama.rope.scaling.factor", 4);
     }),
     "m.gguf", "m.gguf", "has tensor 'rope_freqs.weight' and also a RoPE"},
    {"RoPE divisors of another size",
     [](const CheckpointFolder &folder) {
       folder.write(
           "m.gguf",
           smallGguf("llama").u32("llama.attention.key_length", 6).build());
     },
     "m.gguf", "m.gguf",
     "tensor 'rope_freqs.weight' is F32 [2], expected F32 [3]"},
    {"part of a split model", withParts([](GgufWriter &, GgufWriter &) {}),
     part2, part2, "is part 2 of 2, expected the first part"},
    {"split without a second part",
     [](const CheckpointFolder &folder) {
       folder.write(part1, smallGguf("llama").u16("split.count", 2).build());
     },
     part1, part2, "cannot open: No such file or directory"},
    {"split under another name",
     [](const CheckpointFolder &folder) {
       folder.write("m.gguf", smallGguf("llama").u16("split.count", 2).build());
     },
     "m.gguf", "m.gguf", "expected a name that ends in '-00001-of-00002.gguf'"},
    {"split of another count than its name",
     withParts([](GgufWriter &first, GgufWriter &) {
       first.drop("split.count").u16("split.count", 3);
     }),
     part1, part1, "expected a name that ends in '-00001-of-00003.gguf'"},
    {"no parts", withParts([](GgufWriter &first, GgufWriter &) {
       first.drop("split.count").u16("split.count", 0);
     }),
     part1, part1, "key 'split.count' is 0, expected 1 to"},
    {"second part is of another model",
     withParts([](GgufWriter &, GgufWriter &second) {
       second.drop("split.count").u16("split.count", 3);
     }),
     part1, part2, "key 'split.count' is 3, expected 2"},
    {"second part is the first",
     withParts([](GgufWriter &, GgufWriter &second) {
       second.drop("split.no").u16("split.no", 0);
     }),
     part1, part2, "key 'split.no' is 0, expected 1"},
    {"second part has no number",
     withParts(
         [](GgufWriter &, GgufWriter &second) { second.drop("split.no"); }),
     part1, part2, "key 'split.no' is missing, expected 1"},
    {"second part repeats a tensor",
     withParts([](GgufWriter &, GgufWriter &second) {
       second.tensor("output_norm.weight", {8}, 0, std::string(32, '\0'));
     }),
     part1, part2, "tensor 'model.norm.weight' occurs a second time"},
    {"parts have too few tensors",
     withParts([](GgufWriter &first, GgufWriter &) {
       first.raw("split.tensors.count", GgufValue::I32, u32Bytes(15));
     }),
     part1, part1,
     "key 'split.tensors.count' is 15, but the parts have 14 tensors"},
};

TEST(BrokenCheckpoints, EachHasItsError) {
  for (const Broken &broken : cases) {
    SCOPED_TRACE(broken.name);
    CheckpointFolder folder;
    broken.write(folder);
    const auto full = [&](StringRef name) {
      return name.empty() ? folder.path() : folder.path(name);
    };
    expectFailure(Checkpoint::open(full(broken.open)), full(broken.file),
                  broken.expected);
  }
}

TEST(BrokenCheckpoints, UnreadableFile) {
  CheckpointFolder folder;
  folder.writeSingle();
  ASSERT_EQ(chmod(folder.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod(folder.path("model.safetensors").c_str(), 0), 0);
  // Root can read every file.
  const uid_t user = geteuid();
  if (user == 0 && seteuid(65534) != 0)
    GTEST_SKIP() << "root cannot become another user here";
  expectFailure(Checkpoint::open(folder.path()),
                folder.path("model.safetensors"),
                "cannot open: Permission denied");
  ASSERT_EQ(seteuid(user), 0);
}

TEST(BrokenCheckpoints, RopeDivisors) {
  for (float value : {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                      std::numeric_limits<float>::quiet_NaN()}) {
    CheckpointFolder folder;
    folder.write("m.gguf", smallGguf("llama").ropeFreqs(value).build());
    expectFailure(Checkpoint::open(folder.path("m.gguf")),
                  folder.path("m.gguf"),
                  "tensor 'rope_freqs.weight' has a value that is not "
                  "positive and finite");
  }
}

TEST(BrokenCheckpoints, ConfigOnlyNeedsAFolder) {
  CheckpointFolder folder;
  folder.write("m.gguf", smallGguf("llama").build());
  expectFailure(Checkpoint::openConfigOnly(folder.path("m.gguf")),
                folder.path("m.gguf"), "is not a folder");
  expectFailure(Checkpoint::openConfigOnly(folder.path("absent")),
                folder.path("absent"), "cannot open");
}

} // namespace
} // namespace sputnik::testing
