//===- Interrupt.h - Ctrl-C -----------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_INTERRUPT_H
#define SPUTNIK_RUNTIME_INTERRUPT_H

namespace sputnik::rt {

/// While one exists, SIGINT and SIGTERM ask for an end instead of killing the
/// process; blocking reads return early. A second SIGTERM kills.
class InterruptScope {
public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope &) = delete;
  InterruptScope &operator=(const InterruptScope &) = delete;
};

/// Whether a signal came since the last clearInterrupt.
bool interruptRequested();
/// Whether that signal wants the whole process to end, not just an answer.
bool terminationRequested();
void clearInterrupt();

/// Ends the process the way the pending signal would have. Does nothing when
/// there is none.
void dieOfInterrupt();

/// Signals that would end a process that lost its output or its weights file
/// become errors: a write fails instead, and a page that cannot be read gets
/// one line and exit status 1.
void installFaultHandlers();

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_INTERRUPT_H
