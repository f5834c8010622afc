//===- RegionBenchmarks.cpp - Kernel regions as files ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/RegionBenchmarks.h"

#include "codegen/cpu/ModelObject.h"
#include "codegen/link/OutputFile.h"
#include "passes/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace sputnik;
using llvm::Error;

/// How many regions of each name the phase with most of them has.
static llvm::MapVector<StringRef, int64_t> countRegions(ModuleOp module) {
  llvm::MapVector<StringRef, int64_t> most;
  for (auto function : module.getOps<func::FuncOp>()) {
    llvm::StringMap<int64_t> counts;
    function.walk([&](r1::RegionOp region) {
      int64_t count = ++counts[region.getName()];
      int64_t &largest = most[region.getName()];
      largest = std::max(largest, count);
    });
  }
  return most;
}

static Error writeFile(const llvm::Twine &path, StringRef text) {
  llvm::Expected<OutputFile> file =
      OutputFile::create(path.str(), /*executable=*/false);
  if (!file)
    return file.takeError();
  if (Error error = file->write(0, llvm::arrayRefFromStringRef(text)))
    return error;
  return file->commit();
}

/// Writes the benchmark of `module`, which has one region, under `path` with
/// the ends of its forms.
static Error writeForms(ModuleOp module, StringRef path, int optLevel) {
  std::string text;
  llvm::raw_string_ostream mlir(text);
  module.print(mlir);
  mlir << "\n";
  if (Error error = writeFile(path + ".mlir", text))
    return error;
  const std::pair<cpu::CodeForm, const char *> forms[] = {
      {cpu::CodeForm::LLVM, ".ll"}, {cpu::CodeForm::Assembly, ".s"}};
  for (auto [form, end] : forms) {
    cpu::ModelDescription description;
    description.weightSource = abi::kRandom;
    SmallString<0> code;
    llvm::raw_svector_ostream os(code);
    if (failed(cpu::writeModelCode(module, description, optLevel, form, os)))
      return llvm::createStringError("no code could be made for %s.mlir",
                                     path.str().c_str());
    if (Error error = writeFile(path + end, code))
      return error;
  }
  return Error::success();
}

Error sputnik::writeRegionBenchmarks(ModuleOp module, StringRef folder,
                                     int optLevel) {
  if (std::error_code code = llvm::sys::fs::create_directories(folder))
    return llvm::createStringError(code, "%s: %s", folder.str().c_str(),
                                   code.message().c_str());
  for (auto [name, most] : countRegions(module))
    for (int64_t number = 1; number <= most; ++number) {
      OwningOpRef<ModuleOp> alone = module.clone();
      PassManager pm(module.getContext());
      r1::IsolateOptions options;
      options.region = name.str();
      options.number = number;
      r1::buildIsolatePipeline(pm, options);
      if (failed(pm.run(*alone)))
        return llvm::createStringError("%s cannot be taken out of the model",
                                       name.str().c_str());
      SmallString<128> path(folder);
      llvm::sys::path::append(path, name);
      if (number > 1)
        path += ("." + llvm::Twine(number)).str();
      if (Error error = writeForms(*alone, path, optLevel))
        return error;
    }
  return Error::success();
}
