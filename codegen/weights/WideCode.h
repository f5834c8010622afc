//===- WideCode.h - The same operations in wider registers ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_WIDECODE_H
#define SPUTNIK_CODEGEN_WEIGHTS_WIDECODE_H

/// Makes a function in variants for wider registers, one of which is chosen on
/// the host. Results stay the same where the file says `#pragma STDC FP_CONTRACT
/// OFF`. Such functions call no templates: Clang does not emit what only their
/// variants use.
#if defined(__x86_64__) && defined(__clang__)
#define SPUTNIK_WIDE                                                           \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SPUTNIK_WIDE
#endif

#endif // SPUTNIK_CODEGEN_WEIGHTS_WIDECODE_H
