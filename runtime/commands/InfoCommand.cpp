//===- InfoCommand.cpp - What the executable was made from ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Files.h"
#include "runtime/ModelInfo.h"
#include "runtime/commands/Commands.h"

namespace sputnik::rt {

Status infoCommand(const Program &program, const InfoOptions &options) {
  if (options.json)
    return print(std::string(program.model.info,
                             static_cast<size_t>(program.model.infoBytes)) +
                 "\n");
  Result<std::string> text = describeModel(program.model);
  if (!text)
    return text.error();
  return print(*text);
}

} // namespace sputnik::rt
