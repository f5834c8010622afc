//===- LogitsCommand.cpp - Logits of every position -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "runtime/Interrupt.h"
#include "runtime/Session.h"
#include "runtime/commands/Commands.h"
#include "runtime/commands/Prompt.h"

namespace sputnik::rt {

Status logitsCommand(const Program &program, const LogitsOptions &options) {
  const abi::Model &model = program.model;
  Result<std::vector<int32_t>> ids = readIds(options.ids, model.vocabSize);
  if (!ids)
    return ids.error();
  if (ids->empty())
    return Error{"--ids is empty, expected at least one token id"};
  if (static_cast<int64_t>(ids->size()) > model.maxContext)
    return SPUTNIK_ERROR("--ids has %zu tokens, the context holds %lld",
                         ids->size(), static_cast<long long>(model.maxContext));
  // From here on an interrupt must not leave a partial file.
  InterruptScope interrupts;
  Result<OutputFile> output = OutputFile::create(options.output);
  if (!output)
    return output.error();
  Result<std::unique_ptr<Engine>> engine =
      Engine::create(program, options.resources);
  if (!engine)
    return engine.error();
  Session session(**engine);
  const Status status =
      session.feedAll(*ids, [&](int64_t, int64_t count, const float *logits) {
        return output->write(
            {reinterpret_cast<const char *>(logits),
             static_cast<size_t>(count * model.vocabSize) * sizeof(float)});
      });
  if (!status)
    return status;
  return output->commit();
}

} // namespace sputnik::rt
