//===- Main.cpp - Where an executable begins ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/Clock.h"
#include "runtime/Interrupt.h"
#include "runtime/commands/Commands.h"

int main(int argc, char **argv) {
  const uint64_t start = sputnik::rt::processStartNanoseconds();
  sputnik::rt::installFaultHandlers();
  return sputnik::rt::runCommandLine(
      {sputnik_model, sputnik_image_address(), start}, argc, argv);
}
