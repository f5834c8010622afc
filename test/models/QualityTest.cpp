//===- QualityTest.cpp - What each format loses ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The bundled model in every format: bits a weight, relative error of the
// weights, and how far its predictions are from those of float32, over held-out
// problems with the answers that the float32 executable gives. Prints the table
// of docs/performance.md.
//
//===----------------------------------------------------------------------===//

#include "test/models/Heldout.h"
#include "test/models/Process.h"

#include <map>

using namespace llvm;
using namespace sputnik;

namespace {

/// A format and what was measured of it.
struct Quality {
  double bits = 0, error = 0; ///< Over all matrices that linears read.
  double divergence = 0;      ///< Mean KL divergence to f32 in nats.
  double agreement = 0;       ///< Fraction of equal likeliest tokens.
};

class QualityTest : public testing::Test {
protected:
  /// Compiles the model, with a file of importance if one is named; measures
  /// what the report says.
  std::string compile(const std::string &format, Quality &quality,
                      const std::string &importance = "") {
    const std::string name = importance.empty() ? format : format + "-weighed";
    const std::string model = folder.path(name);
    const std::string report = folder.path(name + ".json");
    std::vector<std::string> command = {
        SPUTNIK_PROGRAM, "compile", SPUTNIK_SOURCE_DIR "/models/tiny-r1-qwen",
        "-o", model, "--quant=" + format, "--quiet", "--report=" + report};
    if (!importance.empty())
      command.push_back("--importance=" + importance);
    run(command);
    auto buffer = MemoryBuffer::getFile(report);
    if (!buffer)
      return model;
    const json::Value parsed = cantFail(json::parse((*buffer)->getBuffer()));
    std::string scheme = format == "q4-plain" ? "q4_plain" : format;
    for (const json::Value &entry : *parsed.getAsObject()->getArray("formats"))
      if (*entry.getAsObject()->getString("format") == scheme) {
        quality.bits = *entry.getAsObject()->getNumber("bits");
        quality.error = *entry.getAsObject()->getNumber("relative_error");
      }
    return model;
  }

  /// Conversations of `count` problems, as token ids.
  std::vector<std::string> converse(const std::string &model, size_t count) {
    std::vector<std::string> conversations;
    const std::vector<Problem> problems = readHeldout();
    for (const Problem &problem : ArrayRef(problems).take_front(count)) {
      const std::string messages = folder.path("messages");
      const std::string prompt = folder.path("prompt");
      write(messages, "[{\"role\": \"user\", \"content\": \"" + problem.prompt +
                          "\"}]");
      write(prompt, run({model, "render", "-f", messages}));
      conversations.push_back(
          StringRef(run({model, "tokenize", "-f", prompt})).trim().str() + "," +
          StringRef(run({model, problem.prompt, "--temp", "0", "--print-ids"}))
              .trim()
              .str());
    }
    return conversations;
  }

  /// What calibration makes of the answers to problems that `converse` leaves
  /// out.
  std::string calibrate(const std::string &model, size_t first, size_t count) {
    std::string text;
    const std::vector<Problem> problems = readHeldout();
    for (const Problem &problem : ArrayRef(problems).slice(first, count))
      text += problem.prompt + "\n" + run({model, problem.prompt, "--temp", "0"});
    write(folder.path("text"), text);
    const std::string importance = folder.path("importance");
    run({SPUTNIK_PROGRAM, "calibrate", SPUTNIK_SOURCE_DIR "/models/tiny-r1-qwen",
         "-f", folder.path("text"), "-o", importance});
    return importance;
  }

  static void write(const std::string &path, StringRef text) {
    std::error_code error;
    raw_fd_ostream(path, error) << text;
    ASSERT_FALSE(error) << path;
  }

  TemporaryFolder folder;
};

} // namespace

TEST_F(QualityTest, OfEveryFormat) {
  std::map<std::string, Quality> found;
  const std::string exact = compile("f32", found["f32"]);
  ASSERT_FALSE(HasFailure());
  const std::vector<std::string> conversations = converse(exact, 60);
  const std::string reference = folder.path("reference");

  std::map<std::string, std::string> models;
  for (const char *format : {"f32", "bf16", "q8", "fp8", "q4", "q4-plain"})
    models[format] = compile(format, found[format]);
  const char *weighed = "q4, calibrated";
  models[weighed] = compile("q4", found[weighed], calibrate(exact, 60, 40));
  double tokens = 0;
  for (const std::string &ids : conversations) {
    run({exact, "logits", "--ids", ids, "-o", reference});
    double count = 0;
    for (const auto &[format, model] : models) {
      const json::Value score = cantFail(json::parse(
          run({model, "score", "--ids", ids, "--reference", reference,
               "--json"})));
      const json::Object &fields = *score.getAsObject();
      count = *fields.getNumber("tokens");
      found[format].divergence += count * *fields.getNumber("kl_mean");
      found[format].agreement += count * *fields.getNumber("top1_agreement");
    }
    tokens += count;
  }
  ASSERT_GT(tokens, 2000);
  std::printf("| format | bits a weight | relative error | KL divergence | "
              "same likeliest token |\n|---|---|---|---|---|\n");
  for (auto &[format, quality] : found) {
    quality.divergence /= tokens;
    quality.agreement /= tokens;
    std::printf("| %s | %.2f | %.4f | %.2e | %.2f %% |\n", format.c_str(),
                quality.bits,
                quality.error, quality.divergence, 100 * quality.agreement);
  }

  EXPECT_EQ(found["f32"].divergence, 0);
  EXPECT_LT(found["bf16"].divergence, 1e-4);
  EXPECT_LT(found["q8"].divergence, 1e-3);
  EXPECT_GE(found["q8"].agreement, 0.995);
  EXPECT_LT(found["fp8"].divergence, 1e-3);
  EXPECT_LE(found["fp8"].bits, 9);
  EXPECT_LE(found["q4"].bits, 4.5);
  EXPECT_LE(found["q4"].bits, found["q4-plain"].bits);
  // Divergence depends on the model at hand; what weights lose does less so.
  EXPECT_LT(found["q4"].error, 0.85 * found["q4-plain"].error);
  EXPECT_LT(found["q4"].divergence, found["q4-plain"].divergence * 2 / 3);
  EXPECT_LT(found[weighed].divergence, found["q4"].divergence);
}
