//===- Interrupt.cpp - Ctrl-C ---------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Interrupt.h"

#include <csignal>
#include <unistd.h>

namespace sputnik::rt {

static volatile std::sig_atomic_t pendingSignal = 0;
static struct sigaction previousInterrupt, previousTermination;

static void onSignal(int signal) { pendingSignal = signal; }

InterruptScope::InterruptScope() {
  struct sigaction action = {};
  action.sa_handler = onSignal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previousInterrupt);
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGTERM, &action, &previousTermination);
}

InterruptScope::~InterruptScope() {
  sigaction(SIGINT, &previousInterrupt, nullptr);
  sigaction(SIGTERM, &previousTermination, nullptr);
}

bool interruptRequested() { return pendingSignal != 0; }
bool terminationRequested() { return pendingSignal == SIGTERM; }
void clearInterrupt() { pendingSignal = 0; }

void dieOfInterrupt() {
  const int signal = pendingSignal;
  if (signal == 0)
    return;
  std::signal(signal, SIG_DFL);
  raise(signal);
}

static void onBusError(int) {
  static constexpr char message[] =
      "error: the weights can no longer be read: their file was cut short or "
      "the disk failed\n";
  if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
    _exit(1);
  _exit(1);
}

void installFaultHandlers() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGBUS, onBusError);
}

} // namespace sputnik::rt
