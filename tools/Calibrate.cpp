//===- Calibrate.cpp - What a model's matrices are multiplied with --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/Calibrate.h"

#include "importer/Checkpoint.h"
#include "importer/InputFile.h"
#include "tools/Compile.h"
#include "tools/ImportanceFile.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <cstring>

using namespace llvm;
using namespace sputnik;

/// Texts are read in windows of at most this many tokens: attention over more
/// takes long and says nothing new about the features of matrices.
static constexpr int64_t kWindow = 2048;

/// Runs the executable over the text; its line of error becomes ours.
static Error observe(const std::string &model, const CalibrateOptions &options,
                     const std::string &records, const std::string &messages) {
  const std::string threads = std::to_string(options.threads);
  SmallVector<StringRef> arguments = {model,          "score",
                                      "-f",           options.text,
                                      "--observations", records};
  if (options.threads)
    arguments.append({"--threads", threads});
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(), messages};
  std::string problem;
  if (sys::ExecuteAndWait(model, arguments, std::nullopt, redirects, 0, 0,
                          &problem) == 0)
    return Error::success();
  Expected<InputFile> file = InputFile::open(messages);
  if (file && !file->text().trim().empty())
    problem = file->text().trim().split('\n').first.str();
  consumeError(file.takeError());
  StringRef line = problem;
  size_t begin = line.find("error: ");
  return createStringError("running the model: " +
                           line.substr(begin == StringRef::npos ? 0 : begin + 7));
}

/// The means of the records in `file`.
static Expected<Importance> average(const InputFile &file,
                                    ArrayRef<r1::Observation> observations,
                                    StringRef text) {
  Importance importance;
  for (const r1::Observation &observation : observations) {
    Importance::Matrix matrix{observation.layers, observation.columns, {}};
    std::vector<double> record(observation.columns + 1);
    const uint64_t bytes = record.size() * sizeof(double);
    for (int64_t layer = 0; layer < observation.layers; ++layer) {
      const uint64_t offset = observation.offset + layer * bytes;
      if (offset + bytes > file.size())
        return createStringError(file.path() + ": ends before the record of '" +
                                 observation.weight + "'");
      std::memcpy(record.data(), file.data() + offset, bytes);
      if (record.back() == 0)
        return createStringError(text + ": too short, expected text of at least "
                                        "some dozen tokens");
      for (double sum : ArrayRef(record).drop_back())
        matrix.values.push_back(static_cast<float>(sum / record.back()));
    }
    importance.matrices.emplace(observation.weight, std::move(matrix));
  }
  return importance;
}

Error sputnik::calibrateModel(const CalibrateOptions &options) {
  SmallString<128> folder;
  if (std::error_code code =
          sys::fs::createUniqueDirectory("sputnik-calibrate", folder))
    return createStringError(code, "a folder for the executable: %s",
                             code.message().c_str());
  scope_exit cleanUp([&] { sys::fs::remove_directories(folder); });
  const auto path = [&](StringRef name) {
    SmallString<128> whole(folder);
    sys::path::append(whole, name);
    return whole.str().str();
  };

  Expected<Checkpoint> checkpoint = Checkpoint::open(options.model);
  if (!checkpoint)
    return checkpoint.takeError();
  CompileOptions compile;
  compile.model = options.model;
  compile.output = path("model");
  compile.program = options.program;
  compile.scheme = r1::Scheme::BF16;
  compile.maxContext = std::min(kWindow, checkpoint->config().maxPositions);
  compile.quiet = true;
  compile.threads = options.threads;
  std::vector<r1::Observation> observations;
  compile.observations = &observations;
  if (Error error = compileModel(compile))
    return error;

  if (Error error = observe(compile.output, options, path("records"),
                            path("messages")))
    return error;
  Expected<InputFile> records = InputFile::open(path("records"));
  if (!records)
    return records.takeError();
  Expected<Importance> importance =
      average(*records, observations, options.text);
  if (!importance)
    return importance.takeError();
  return writeImportance(options.output, *importance);
}
