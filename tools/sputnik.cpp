//===- sputnik.cpp - The compiler's command line --------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tools/Calibrate.h"
#include "tools/Compile.h"
#include "tools/Inspect.h"
#include "tools/Targets.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/WithColor.h"

using namespace llvm;
using namespace sputnik;

namespace {

cl::SubCommand compileCommand("compile", "Compile a model to an executable");
cl::SubCommand calibrateCommand(
    "calibrate", "Find out which errors of weights count, by running a model");
cl::SubCommand inspectCommand("inspect", "Say what a model is");
cl::SubCommand targetsCommand("targets", "List targets");

cl::opt<std::string> compileInput(cl::Positional, cl::Required,
                                  cl::desc("MODEL"), cl::sub(compileCommand));
cl::opt<std::string> calibrateInput(cl::Positional, cl::Required,
                                    cl::desc("MODEL"),
                                    cl::sub(calibrateCommand));
cl::opt<std::string> calibrateText("f", cl::desc("Text that the model reads"),
                                   cl::value_desc("TEXT"), cl::Required,
                                   cl::sub(calibrateCommand));
cl::opt<std::string> inspectInput(cl::Positional, cl::Required,
                                  cl::desc("MODEL"), cl::sub(inspectCommand));
cl::opt<bool> json("json", cl::desc("Print JSON"), cl::sub(inspectCommand));

cl::opt<std::string> output("o", cl::desc("Where the result goes"),
                            cl::value_desc("FILE"), cl::Required,
                            cl::sub(compileCommand), cl::sub(calibrateCommand));
cl::opt<std::string>
    target("target",
           cl::desc("native, native-cpu, x86-64-v3, x86-64-v4, an LLVM CPU, "
                    "aarch64[:CPU], each with +FEATURE, or GPUs: sm_90a,sm_80,..."),
           cl::init("native"), cl::sub(compileCommand));
cl::opt<std::string>
    ptxas("ptxas",
          cl::desc("NVIDIA's assembler, for GPUs; if not given, the one on PATH "
                   "or in CUDA_HOME, CUDA_PATH or CUDA_ROOT; --ptxas= for none: "
                   "the driver makes machine code at the first start"),
          cl::value_desc("FILE"), cl::sub(compileCommand));
cl::opt<r1::Scheme> quant(
    "quant", cl::desc("How weights are stored"),
    cl::values(clEnumValN(r1::Scheme::F32, "f32", "32-bit floats"),
               clEnumValN(r1::Scheme::BF16, "bf16", "bfloat16"),
               clEnumValN(r1::Scheme::Q8, "q8", "8 bits, blocks of 32"),
               clEnumValN(r1::Scheme::Q4, "q4",
                          "4 bits, blocks of 32, non-linear"),
               clEnumValN(r1::Scheme::Q4Plain, "q4-plain",
                          "4 bits, blocks of 32, linear"),
               clEnumValN(r1::Scheme::FP8, "fp8",
                          "8-bit floats (E4M3), blocks of 128: those of an "
                          "FP8 checkpoint stay as they are")),
    cl::init(r1::Scheme::Q4), cl::sub(compileCommand));
cl::list<std::string> quantOverrides(
    "quant-override",
    cl::desc("Another format for the matrices whose name in --report fits a "
             "glob; the first that fits counts"),
    cl::value_desc("PATTERN=FORMAT"), cl::sub(compileCommand));
cl::opt<std::string>
    report("report",
           cl::desc("Print each weight's format, bits and error, or write them "
                    "to a file, as JSON if its name ends in .json"),
           cl::value_desc("FILE"), cl::ValueOptional, cl::sub(compileCommand));
cl::opt<r1::Scheme>
    kv("kv",
       cl::desc("How the KV cache is stored; if not given, f32 with "
                "--quant=f32, else bf16"),
       cl::values(clEnumValN(r1::Scheme::F32, "f32", "32-bit floats"),
                  clEnumValN(r1::Scheme::BF16, "bf16", "bfloat16"),
                  clEnumValN(r1::Scheme::Q8, "q8", "8 bits with scales")),
       cl::sub(compileCommand));
cl::opt<int64_t> maxContext("max-context",
                            cl::desc("Positions of a conversation; the "
                                     "model's if not given"),
                            cl::value_desc("N"), cl::sub(compileCommand));
cl::opt<WeightsKind> weights(
    "weights", cl::desc("Where the executable finds its weights"),
    cl::values(clEnumValN(WeightsKind::Embed, "embed", "in itself (default)"),
               clEnumValN(WeightsKind::Beside, "beside",
                          "in FILE.weights next to it"),
               clEnumValN(WeightsKind::Random, "random",
                          "makes them up from --seed when it starts")),
    cl::init(WeightsKind::Embed), cl::sub(compileCommand));
cl::opt<uint64_t> seed("seed", cl::desc("Seed of random weights"),
                       cl::sub(compileCommand));
cl::opt<char> optLevel("O",
                       cl::desc("-O0: no fusion, no packing, plain loops; "
                                "-O1 to -O3 (default): everything"),
                       cl::Prefix, cl::init('3'), cl::sub(compileCommand));
cl::opt<bool> profile("profile",
                      cl::desc("Let the code note when regions run, for "
                               "bench --profile; a GPU's kernels always can"),
                      cl::sub(compileCommand));
cl::opt<EmitKind>
    emit("emit", cl::desc("What is written"),
         cl::values(clEnumValN(EmitKind::R1, "r1", "the graph"),
                    clEnumValN(EmitKind::Regions, "regions", "kernel regions"),
                    clEnumValN(EmitKind::LLVM, "llvm", "LLVM IR"),
                    clEnumValN(EmitKind::Assembly, "asm", "assembly"),
                    clEnumValN(EmitKind::Object, "obj", "an object file"),
                    clEnumValN(EmitKind::Executable, "exe",
                               "an executable (default)")),
         cl::init(EmitKind::Executable), cl::sub(compileCommand));
cl::opt<std::string>
    benchDir("bench-dir",
             cl::desc("With --emit=regions: also write each region as a "
                      "benchmark for sputnik-bench, with its code"),
             cl::value_desc("DIR"), cl::sub(compileCommand));
cl::opt<std::string>
    importance("importance",
               cl::desc("Weigh the errors of q4 with this file of sputnik "
                        "calibrate"),
               cl::value_desc("FILE"), cl::sub(compileCommand));
cl::opt<unsigned> threads("threads",
                          cl::desc("Threads that write weights, or run the "
                                   "model; all cores if not given"),
                          cl::value_desc("N"), cl::sub(compileCommand),
                          cl::sub(calibrateCommand));
cl::opt<bool> progress("progress", cl::desc("Show progress"),
                       cl::sub(compileCommand));
cl::opt<bool> quiet("quiet", cl::desc("Print errors only"),
                    cl::sub(compileCommand));

} // namespace

static std::string programPath(const char *program) {
  return sys::fs::getMainExecutable(program,
                                    reinterpret_cast<void *>(&programPath));
}

/// The options as one value: linking resets what cl::opt holds. Errors are
/// errors of usage.
static Expected<CompileOptions> readOptions(const char *program) {
  if (optLevel < '0' || optLevel > '3')
    return createStringError("-O%c: expected -O0, -O1, -O2 or -O3",
                             optLevel.getValue());
  if (maxContext < 0)
    return createStringError("--max-context: found %lld, expected a positive "
                             "number",
                             static_cast<long long>(maxContext));
  if (output.empty())
    return createStringError("-o: expected the name of a file");
  if (output == "-" && emit == EmitKind::Executable)
    return createStringError("-o -: an executable needs a file");
  if (benchDir.getNumOccurrences() &&
      (benchDir.empty() || emit != EmitKind::Regions))
    return createStringError("--bench-dir: expected a folder, and "
                             "--emit=regions");
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<r1::R1Dialect>();
  if (Error error = getTargets(target, context).takeError())
    return std::move(error);
  CompileOptions options;
  options.model = compileInput;
  options.output = output;
  options.program = programPath(program);
  options.target = target;
  if (ptxas.getNumOccurrences())
    options.ptxas = ptxas;
  options.scheme = quant;
  for (StringRef rule : quantOverrides) {
    auto [pattern, format] = rule.rsplit('=');
    if (pattern.empty() || format.empty())
      return createStringError("--quant-override=" + rule +
                               ": expected PATTERN=FORMAT");
    // Formats are spelled as --quant spells them.
    options.overrides.push_back(
        (pattern + "=" + (format == "q4-plain" ? "q4_plain" : format)).str());
  }
  if (report.getNumOccurrences()) {
    if (emit != EmitKind::Executable || weights == WeightsKind::Random)
      return createStringError("--report: no weights are written");
    options.report = report.empty() ? "-" : report.getValue();
  }
  if (importance.getNumOccurrences()) {
    if (importance.empty() || quant != r1::Scheme::Q4)
      return createStringError("--importance: expected a file, and --quant=q4");
    options.importance = importance;
  }
  if (kv.getNumOccurrences())
    options.kv = kv;
  options.maxContext = maxContext;
  options.weights = weights;
  options.seed = seed;
  options.optLevel = optLevel - '0';
  options.profile = profile;
  options.emit = emit;
  options.benchFolder = benchDir;
  options.progress =
      progress || (!quiet && sys::Process::StandardErrIsDisplayed());
  options.quiet = quiet;
  options.threads = threads;
  return options;
}

static int fail(Twine message, int status) {
  WithColor::error(errs(), "sputnik") << message << "\n";
  return status;
}

/// The exit status of a command; a lost report is an error too.
static int finish(Error error) {
  if (error)
    return fail(toString(std::move(error)), 1);
  outs().flush();
  if (!outs().has_error())
    return 0;
  std::string reason = outs().error().message();
  outs().clear_error();
  return fail("standard output: " + reason, 1);
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  std::string problem;
  raw_string_ostream problems(problem);
  // LLVM prints what is wrong with an option's value by itself.
  if (!cl::ParseCommandLineOptions(
          argc, argv, "Sputnik compiles models of the DeepSeek-R1 family\n",
          &problems))
    return problem.empty() ? 2 : fail(StringRef(problem).split('\n').first, 2);
  if (compileCommand) {
    Expected<CompileOptions> options = readOptions(argv[0]);
    return options ? finish(compileModel(*options))
                   : fail(toString(options.takeError()), 2);
  }
  if (calibrateCommand) {
    if (output.empty() || output == "-")
      return fail("-o: expected the name of a file", 2);
    CalibrateOptions options{calibrateInput, calibrateText, output,
                             programPath(argv[0]), threads};
    return finish(calibrateModel(options));
  }
  if (inspectCommand)
    return finish(inspectModel(inspectInput, json, outs()));
  if (targetsCommand) {
    mlir::MLIRContext context;
    context.loadDialect<r1::R1Dialect>();
    printTargets(context, outs());
    return finish(Error::success());
  }
  return fail("expected compile, calibrate, inspect or targets; see sputnik --help", 2);
}
