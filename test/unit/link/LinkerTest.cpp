//===- LinkerTest.cpp - Executables are linked, filled and run ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/link/Linker.h"
#include "codegen/link/ImageSegment.h"
#include "runtime/Abi.h"
#include "test/unit/link/TemporaryFolder.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace llvm;

namespace sputnik {
namespace {

constexpr StringLiteral kX86 = "x86_64-unknown-linux-gnu";
constexpr StringLiteral kArm = "aarch64-unknown-linux-gnu";

/// A program that prints the image's size and the sum of its 64-bit words, the
/// header's included, each multiplied by one more than its index.
constexpr StringLiteral kProgram = R"(
@format = private constant [11 x i8] c"%lu %016lx\00"
declare ptr @sputnik_image_address()
declare i32 @printf(ptr, ...)
define i32 @main() {
entry:
  %image = call ptr @sputnik_image_address()
  %sizeAddress = getelementptr i8, ptr %image, i64 8
  %size = load i64, ptr %sizeAddress
  %bytes = add i64 %size, 4096
  %words = lshr i64 %bytes, 3
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i64 [ 0, %entry ], [ %newSum, %loop ]
  %address = getelementptr i64, ptr %image, i64 %i
  %word = load i64, ptr %address
  %next = add i64 %i, 1
  %product = mul i64 %word, %next
  %newSum = add i64 %sum, %product
  %more = icmp ult i64 %next, %words
  br i1 %more, label %loop, label %end
end:
  %printed = call i32 (ptr, ...) @printf(ptr @format, i64 %size, i64 %newSum)
  ret i32 0
}
)";

/// Compiles LLVM assembly to an object file, as codegen/cpu does.
std::string compile(StringRef program, StringRef triple) {
  InitializeAllTargetInfos();
  InitializeAllTargets();
  InitializeAllTargetMCs();
  InitializeAllAsmPrinters();
  LLVMContext context;
  SMDiagnostic diagnostic;
  auto module = parseAssemblyString(program, diagnostic, context);
  EXPECT_TRUE(module) << diagnostic.getMessage().str();
  std::string message;
  const Target *target = TargetRegistry::lookupTarget(Triple(triple), message);
  EXPECT_TRUE(target) << message;
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(
      Triple(triple), "", "", TargetOptions(), Reloc::Static));
  module->setTargetTriple(Triple(triple));
  module->setDataLayout(machine->createDataLayout());
  SmallString<0> object;
  raw_svector_ostream stream(object);
  legacy::PassManager passes;
  EXPECT_FALSE(machine->addPassesToEmitFile(passes, stream, nullptr,
                                            CodeGenFileType::ObjectFile));
  passes.run(*module);
  return object.str().str();
}

Expected<RuntimePack> openPack(StringRef triple) {
  SmallString<256> folder(SPUTNIK_PACKS);
  sys::path::append(folder, RuntimePack::folderName(Triple(triple)));
  return RuntimePack::open(Triple(triple), folder);
}

/// A stretch of weights that no other stretch equals.
std::vector<uint8_t> pattern(uint64_t offset, uint64_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint64_t i = 0; i < size; ++i)
    bytes[i] = uint8_t(((offset + i) * 0x9E3779B97F4A7C15u) >> 56);
  return bytes;
}

/// What kProgram prints for these weights.
std::string expectedOutput(ArrayRef<uint8_t> weights, uint8_t idByte) {
  abi::ImageHeader header = {};
  std::memcpy(header.magic, abi::kImageMagic, sizeof(header.magic));
  header.weightBytes = weights.size();
  std::memset(header.id, idByte, sizeof(header.id));
  std::vector<uint8_t> image(abi::kImageHeaderBytes);
  std::memcpy(image.data(), &header, sizeof(header));
  image.insert(image.end(), weights.begin(), weights.end());
  uint64_t sum = 0;
  for (uint64_t i = 0; i < image.size() / 8; ++i) {
    uint64_t word;
    std::memcpy(&word, image.data() + 8 * i, 8);
    sum += word * (i + 1);
  }
  char text[64];
  std::snprintf(text, sizeof(text), "%lu %016lx", weights.size(), sum);
  return text;
}

/// Runs a program and returns what it printed, or how it failed.
std::string run(const TemporaryFolder &folder, ArrayRef<StringRef> command) {
  std::string output = folder.path("stdout"), errors = folder.path("stderr");
  std::string message;
  int status = sys::ExecuteAndWait(
      command.front(), command, std::nullopt,
      {StringRef(""), StringRef(output), StringRef(errors)}, 120, 0, &message);
  if (status)
    return "status " + std::to_string(status) + ": " + message +
           readFile(errors);
  return readFile(output);
}

constexpr uint64_t kStep = 1 << 20;

class LinkerTest : public ::testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    triple = GetParam();
    auto found = openPack(triple);
    if (!found)
      GTEST_SKIP() << toString(found.takeError());
    pack.emplace(std::move(*found));
    native = Triple(triple).getArch() ==
             Triple(sys::getDefaultTargetTriple()).getArch();
    emulator = native ? "" : "/usr/bin/qemu-aarch64-static";
  }

  /// Makes an executable of kProgram with \p weightBytes of pattern() weights,
  /// written backwards by two threads.
  Error make(StringRef path, WeightStore store, uint64_t weightBytes) {
    auto writer = ExecutableWriter::create(path, store);
    if (!writer)
      return writer.takeError();
    if (Error error = writer->link(compile(kProgram, triple), *pack))
      return error;
    if (store != WeightStore::None) {
      auto sink = writer->image(weightBytes, std::vector<uint8_t>(32, 0xAB));
      if (!sink)
        return sink.takeError();
      uint64_t steps = (weightBytes + kStep - 1) / kStep;
      auto fill = [&](uint64_t first) {
        for (uint64_t step = first; step < steps; step += 2) {
          uint64_t begin = (steps - 1 - step) * kStep;
          uint64_t size = std::min(kStep, weightBytes - begin);
          EXPECT_FALSE(sink->write(begin, pattern(begin, size)));
        }
      };
      std::thread other(fill, 1);
      fill(0);
      other.join();
    }
    return writer->commit();
  }

  std::string runProgram(StringRef path) {
    if (native)
      return run(folder, {path});
    return run(folder, {StringRef(emulator), path});
  }
  bool canRun() const { return native || sys::fs::exists(emulator); }

  TemporaryFolder folder;
  std::string triple;
  std::optional<RuntimePack> pack;
  bool native = false;
  std::string emulator;
};

TEST_P(LinkerTest, EmbeddedWeightsAreMapped) {
  std::string path = folder.path("model");
  uint64_t size = 5 * kStep + 64;
  Error error = make(path, WeightStore::Embed, size);
  ASSERT_FALSE(error) << toString(std::move(error));
  EXPECT_EQ(folder.files(), std::vector<std::string>{"model"});
  if (canRun()) {
    EXPECT_EQ(runProgram(path), expectedOutput(pattern(0, size), 0xAB));
  }
}

TEST_P(LinkerTest, TheImageIsTheLastSegment) {
  std::string path = folder.path("model");
  uint64_t size = 3 * kStep;
  Error error = make(path, WeightStore::Embed, size);
  ASSERT_FALSE(error) << toString(std::move(error));
  auto binary = object::ObjectFile::createObjectFile(path);
  ASSERT_TRUE(bool(binary)) << toString(binary.takeError());
  auto *elf = dyn_cast<object::ELF64LEObjectFile>(binary->getBinary());
  ASSERT_TRUE(elf);
  auto segments = elf->getELFFile().program_headers();
  ASSERT_TRUE(bool(segments));
  unsigned images = 0;
  uint64_t lastAddress = 0;
  for (auto &segment : *segments) {
    EXPECT_NE(segment.p_type, ELF::PT_INTERP);
    EXPECT_NE(segment.p_type, ELF::PT_DYNAMIC);
    if (segment.p_type == ELF::PT_GNU_STACK) {
      EXPECT_EQ(segment.p_flags, unsigned(ELF::PF_R | ELF::PF_W));
    }
    if (segment.p_type != ELF::PT_LOAD)
      continue;
    EXPECT_FALSE((segment.p_flags & ELF::PF_W) &&
                 (segment.p_flags & ELF::PF_X));
    EXPECT_GT(segment.p_vaddr, lastAddress);
    lastAddress = segment.p_vaddr;
    if (segment.p_vaddr != kImageAddress)
      continue;
    ++images;
    EXPECT_EQ(segment.p_flags, unsigned(ELF::PF_R));
    EXPECT_EQ(segment.p_offset % kImageAlignment, 0u);
    EXPECT_EQ(segment.p_filesz, size + abi::kImageHeaderBytes);
    EXPECT_EQ(segment.p_memsz, segment.p_filesz);
    EXPECT_EQ(segment.p_offset + segment.p_filesz,
              binary->getBinary()->getData().size());
  }
  EXPECT_EQ(images, 1u);
}

TEST_P(LinkerTest, WithoutWeightsTheImageIsEmpty) {
  std::string path = folder.path("model");
  Error error = make(path, WeightStore::None, 0);
  ASSERT_FALSE(error) << toString(std::move(error));
  EXPECT_EQ(folder.files(), std::vector<std::string>{"model"});
  if (canRun()) {
    EXPECT_EQ(runProgram(path), "0 0000000000000000");
  }
}

TEST_P(LinkerTest, WeightsBesideHaveTheHeader) {
  std::string path = folder.path("model");
  uint64_t size = 2 * kStep + 192;
  Error error = make(path, WeightStore::Beside, size);
  ASSERT_FALSE(error) << toString(std::move(error));
  EXPECT_EQ(folder.files(),
            (std::vector<std::string>{"model", "model.weights"}));
  std::string image = readFile(path + ".weights");
  ASSERT_EQ(image.size(), abi::kImageHeaderBytes + size);
  EXPECT_EQ(StringRef(image).substr(0, 8), "SPUTNIKW");
  std::vector<uint8_t> weights = pattern(0, size);
  EXPECT_TRUE(std::equal(weights.begin(), weights.end(),
                         reinterpret_cast<const uint8_t *>(image.data()) +
                             abi::kImageHeaderBytes));
  if (canRun()) {
    EXPECT_EQ(runProgram(path), "0 0000000000000000");
  }
}

TEST_P(LinkerTest, SameInputSameBytes) {
  TemporaryFolder elsewhere;
  std::string first = folder.path("model"), second = elsewhere.path("other");
  for (const std::string &path : {first, second}) {
    Error error = make(path, WeightStore::Embed, kStep);
    ASSERT_FALSE(error) << toString(std::move(error));
  }
  EXPECT_TRUE(readFile(first) == readFile(second));
}

TEST_P(LinkerTest, RunsInAnEmptyRoot) {
  if (!native)
    GTEST_SKIP() << "an emulator is not part of an empty root";
  if (::geteuid() != 0)
    GTEST_SKIP() << "chroot needs root";
  std::string path = folder.path("model");
  Error error = make(path, WeightStore::Embed, kStep);
  ASSERT_FALSE(error) << toString(std::move(error));
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::chroot(folder.path("").c_str()) || ::chdir("/") ||
        !std::freopen("/stdout", "w", stdout))
      ::_exit(126);
    ::execl("/model", "/model", nullptr);
    ::_exit(127);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(readFile(folder.path("stdout")),
            expectedOutput(pattern(0, kStep), 0xAB));
}

TEST_P(LinkerTest, OverwritesOnlyWhenDone) {
  std::string path = folder.path("model");
  writeFile(path, "old");
  {
    auto writer = ExecutableWriter::create(path, WeightStore::Embed);
    ASSERT_TRUE(bool(writer)) << toString(writer.takeError());
    Error error = writer->link(compile(kProgram, triple), *pack);
    ASSERT_FALSE(error) << toString(std::move(error));
    auto sink = writer->image(kStep, std::vector<uint8_t>(32));
    ASSERT_TRUE(bool(sink)) << toString(sink.takeError());
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"model"});
  EXPECT_EQ(readFile(path), "old");
}

TEST_P(LinkerTest, AFileTooLargeIsFoundBeforeTheLink) {
  std::string path = folder.path("model");
  auto writer = ExecutableWriter::create(path, WeightStore::Embed);
  ASSERT_TRUE(bool(writer)) << toString(writer.takeError());
  std::string object = compile(kProgram, triple);
  rlimit old;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  rlimit small = {1 << 20, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message = toString(writer->link(object, *pack));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(message, path + ": File too large (need " +
                         std::to_string(object.size() + (8 << 20)) + " bytes)");
}

TEST_P(LinkerTest, TheRuntimeIsComplete) {
  std::string path = folder.path("model");
  auto writer = ExecutableWriter::create(path, WeightStore::None);
  ASSERT_TRUE(bool(writer)) << toString(writer.takeError());
  std::string object = compile("@sputnik_model = constant [" +
                                   std::to_string(sizeof(abi::Model)) +
                                   " x i8] zeroinitializer, align 8\n",
                               triple);
  Error error = writer->link(object, *pack);
  ASSERT_FALSE(error) << toString(std::move(error));
  ASSERT_FALSE(writer->commit());
  if (canRun()) {
    std::string output = runProgram(path);
    EXPECT_TRUE(StringRef(output).starts_with("status 2: error: ")) << output;
  }
}

TEST_P(LinkerTest, WritesStayInsideTheImage) {
  std::string path = folder.path("model");
  auto writer = ExecutableWriter::create(path, WeightStore::Beside);
  ASSERT_TRUE(bool(writer)) << toString(writer.takeError());
  auto sink = writer->image(128, std::vector<uint8_t>(32));
  ASSERT_TRUE(bool(sink)) << toString(sink.takeError());
  EXPECT_EQ(toString(sink->write(64, std::vector<uint8_t>(65))),
            path + ".weights: weights at 64 of 65 bytes leave the image of 128 "
                   "bytes");
  EXPECT_EQ(toString(sink->write(~uint64_t(0), std::vector<uint8_t>(1))),
            path + ".weights: weights at 18446744073709551615 of 1 bytes leave "
                   "the image of 128 bytes");
}

TEST_P(LinkerTest, AnUndefinedSymbolIsOneLine) {
  std::string path = folder.path("model");
  auto writer = ExecutableWriter::create(path, WeightStore::None);
  ASSERT_TRUE(bool(writer)) << toString(writer.takeError());
  std::string object = compile("declare i32 @absent()\n"
                               "define i32 @main() {\n"
                               "  %r = call i32 @absent()\n"
                               "  ret i32 %r\n"
                               "}\n",
                               triple);
  std::string message = toString(writer->link(object, *pack));
  EXPECT_TRUE(StringRef(message).contains("undefined symbol: absent"))
      << message;
  EXPECT_FALSE(StringRef(message).contains('\n')) << message;
}

TEST_P(LinkerTest, LinksTwiceInOneProcess) {
  for (StringRef name : {"first", "second"}) {
    Error error = make(folder.path(name), WeightStore::Embed, 64);
    ASSERT_FALSE(error) << toString(std::move(error));
  }
}

TEST_P(LinkerTest, ImagesBeyondFourGigabytes) {
  if (!native)
    GTEST_SKIP() << "once is enough";
  std::string path = folder.path("model");
  auto writer = ExecutableWriter::create(path, WeightStore::Embed);
  ASSERT_TRUE(bool(writer)) << toString(writer.takeError());
  StringRef program = R"(
declare ptr @sputnik_image_address()
define i32 @main() {
  %image = call ptr @sputnik_image_address()
  %last = getelementptr i8, ptr %image, i64 5368713215
  %byte = load i8, ptr %last
  %result = zext i8 %byte to i32
  ret i32 %result
}
)";
  Error error = writer->link(compile(program, triple), *pack);
  ASSERT_FALSE(error) << toString(std::move(error));
  uint64_t size = uint64_t(5) << 30;
  auto sink = writer->image(size, std::vector<uint8_t>(32));
  if (!sink)
    GTEST_SKIP() << toString(sink.takeError());
  ASSERT_FALSE(sink->write(size - 1, uint8_t(77)));
  ASSERT_FALSE(writer->commit());
  std::string message;
  EXPECT_EQ(
      sys::ExecuteAndWait(path, {path}, std::nullopt, {}, 60, 0, &message), 77)
      << message;
}

INSTANTIATE_TEST_SUITE_P(
    Targets, LinkerTest, ::testing::Values(kX86.str(), kArm.str()),
    [](const auto &info) {
      return Triple::getArchTypeName(Triple(info.param).getArch()).str();
    });

TEST(RuntimePack, RefusesOtherTargets) {
  auto pack = RuntimePack::find(Triple("riscv64-unknown-linux-gnu"), "/bin/sh");
  ASSERT_FALSE(bool(pack));
  EXPECT_EQ(toString(pack.takeError()),
            "target riscv64-unknown-linux-gnu: executables are made for Linux "
            "on x86-64 and AArch64 only");
}

TEST(RuntimePack, NamesTheMissingFile) {
  TemporaryFolder folder;
  auto pack = RuntimePack::open(Triple(kX86), folder.path(""));
  ASSERT_FALSE(bool(pack));
  EXPECT_EQ(toString(pack.takeError()), folder.path("crt1.o") +
                                            ": not found; the runtime for " +
                                            kX86.str() + " is not installed");
}

TEST(ImageSegment, RefusesOtherFiles) {
  auto layout = addImageSegment(ArrayRef<uint8_t>(), 4096, 4096);
  EXPECT_EQ(toString(layout.takeError()),
            "linked executable: a table at 0 of 64 bytes leaves the file");
  std::vector<uint8_t> zeros(64);
  layout = addImageSegment(zeros, 4096, 4096);
  EXPECT_EQ(toString(layout.takeError()),
            "linked executable: not a 64-bit little-endian ELF executable");
}

} // namespace
} // namespace sputnik
