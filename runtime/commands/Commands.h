//===- Commands.h - The commands of an executable -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_COMMANDS_COMMANDS_H
#define SPUTNIK_RUNTIME_COMMANDS_COMMANDS_H

#include "runtime/Engine.h"
#include "runtime/Result.h"
#include "runtime/commands/Options.h"

namespace sputnik::rt {

/// Answers a prompt on standard output.
Status runCommand(const Program &program, const RunOptions &options);
/// Holds a conversation over standard input and output.
Status chatCommand(const Program &program, const ChatOptions &options);
/// Writes the logits of every position to a file: float32 little-endian,
/// vocabSize in a row.
Status logitsCommand(const Program &program, const LogitsOptions &options);
/// Prints how likely the model finds a text.
Status scoreCommand(const Program &program, const ScoreOptions &options);
/// Measures speed, and the machine's bounds beside it.
Status benchCommand(const Program &program, const BenchOptions &options);
/// Prints what the executable was made from.
Status infoCommand(const Program &program, const InfoOptions &options);

/// Reads the command line and carries it out. Returns the exit status: 0; 1
/// after bad input or failed I/O, with one line on standard error; 2 after a
/// wrong command line.
int runCommandLine(const Program &program, int argc, char **argv);

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_COMMANDS_COMMANDS_H
