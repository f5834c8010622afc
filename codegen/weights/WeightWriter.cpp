//===- WeightWriter.cpp - Weight programs into the image ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightWriter.h"

#include "codegen/weights/WeightEncoder.h"
#include "codegen/weights/WeightProgram.h"

#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/ThreadPool.h"

#include <map>
#include <mutex>
#include <tuple>

using namespace llvm;

namespace sputnik {
namespace {

/// A tile has about this many values: its f32 form stays in a core's cache.
constexpr int64_t kTileValues = 128 * 1024;

/// A derived weight that goes into the image.
struct PlacedWeight {
  std::string name;
  WeightProgram program;
  r1::PlacementAttr placement;
  /// A multiple of the panel.
  int64_t tileRows;
};

/// One layer of a weight.
struct Unit {
  const PlacedWeight *weight;
  int64_t layer;
  uint64_t offset;
  /// Tiles of all units before this one.
  uint64_t firstTile;
};

/// Tiles are handed out and combined in the order of the image.
class WeightWriter {
public:
  WeightWriter(WeightSink &sink, const WeightWriterOptions &options)
      : sink(sink), options(options) {}

  Error collect(mlir::ModuleOp module, const Checkpoint &checkpoint);
  Expected<ContentId> run();

private:
  using Digest = std::array<uint8_t, 32>;

  /// A tile that is written, but whose turn in the identity has not come.
  struct Finished {
    uint64_t offset;
    uint64_t bytes;
    Digest digest;
    /// As in StoredWeight; only with a report.
    double energy, error;
  };

  /// What a thread keeps from tile to tile.
  struct Buffers {
    std::vector<float> values, scales;
    std::vector<uint8_t> encoded;
  };

  void work();
  std::optional<uint64_t> takeTile();
  const Unit &unitOf(uint64_t tile) const;
  Expected<Finished> writeTile(uint64_t tile,
                               WeightProgram::Evaluator &evaluator,
                               Buffers &buffers);
  void finish(uint64_t tile, Expected<Finished> result);

  WeightSink &sink;
  const WeightWriterOptions &options;
  std::vector<PlacedWeight> weights;
  std::vector<Unit> units;
  uint64_t tileCount = 0, totalBytes = 0;

  std::mutex mutex;
  uint64_t nextTile = 0;
  uint64_t nextCombined = 0, doneBytes = 0;
  std::map<uint64_t, Finished> waiting;
  BLAKE3 identity;
  uint64_t failedTile = UINT64_MAX;
  std::string failure;
};

Error WeightWriter::collect(mlir::ModuleOp module,
                            const Checkpoint &checkpoint) {
  auto imageBytes =
      module->getAttrOfType<mlir::IntegerAttr>(r1::kImageBytesAttr);
  for (auto derived : module.getOps<r1::DerivedOp>()) {
    std::optional<r1::PlacementAttr> placement = derived.getPlacement();
    if (!placement)
      continue;
    Expected<WeightProgram> program =
        WeightProgram::create(derived, checkpoint);
    if (!program)
      return program.takeError();
    const int64_t panel = program->encoding().getPanel();
    const int64_t panels =
        std::max<int64_t>(1, kTileValues / (panel * program->columns()));
    weights.push_back({derived.getSymName().str(), std::move(*program),
                       *placement, panel * panels});
  }

  for (const PlacedWeight &weight : weights) {
    const WeightProgram &program = weight.program;
    const uint64_t bytes =
        WeightEncoder(program.type()).panelBytes() *
        divideCeil(program.rows(), program.encoding().getPanel());
    for (int64_t layer = 0; layer < program.layers(); ++layer) {
      const uint64_t offset =
          weight.placement.getOffset() + layer * weight.placement.getStride();
      if (imageBytes && offset + bytes > imageBytes.getValue().getZExtValue())
        return createStringError("weight @" + weight.name +
                                 " lies beyond the end of the image");
      units.push_back({&weight, layer, offset, 0});
      totalBytes += bytes;
    }
  }
  sort(units, [](const Unit &a, const Unit &b) {
    return std::tie(a.offset, a.weight, a.layer) <
           std::tie(b.offset, b.weight, b.layer);
  });
  for (Unit &unit : units) {
    unit.firstTile = tileCount;
    const WeightProgram &program = unit.weight->program;
    tileCount += divideCeil(program.rows(), unit.weight->tileRows);
    if (!options.report)
      continue;
    StoredWeight entry;
    entry.name = unit.weight->name;
    // A weight without layers has no stride.
    if (unit.weight->placement.getStride())
      entry.layer = unit.layer;
    entry.scheme = program.encoding().getScheme();
    entry.elements = program.rows() * program.columns();
    entry.bytes = program.encoding().getBytes(program.type().getShape());
    options.report->push_back(std::move(entry));
  }
  return Error::success();
}

std::optional<uint64_t> WeightWriter::takeTile() {
  std::lock_guard lock(mutex);
  if (nextTile == tileCount || failedTile != UINT64_MAX)
    return std::nullopt;
  return nextTile++;
}

const Unit &WeightWriter::unitOf(uint64_t tile) const {
  return *std::prev(partition_point(
      units, [&](const Unit &unit) { return unit.firstTile <= tile; }));
}

Expected<WeightWriter::Finished>
WeightWriter::writeTile(uint64_t tile, WeightProgram::Evaluator &evaluator,
                        Buffers &buffers) {
  const Unit &unit = unitOf(tile);
  const PlacedWeight &weight = *unit.weight;
  const WeightProgram &program = weight.program;
  const r1::EncodingAttr encoding = program.encoding();
  const int64_t first = (tile - unit.firstTile) * weight.tileRows;
  const int64_t rows = std::min(weight.tileRows, program.rows() - first);

  auto &[values, scales, encoded] = buffers;
  values.resize(rows * program.columns());
  Error error =
      evaluator.evaluate(program, unit.layer, first, rows, values.data());
  scales.clear();
  if (!error && encoding.getScheme() == r1::Scheme::FP8 &&
      program.hasBlockScales()) {
    scales.resize(values.size());
    error = evaluator.evaluateScales(program, unit.layer, first, rows,
                                     scales.data());
  }
  evaluator.releasePages();
  if (error)
    return error;
  if (!representable(encoding.getScheme(), values))
    return createStringError("weight @" + weight.name + " has in layer " +
                             Twine(unit.layer) + " a value too large for " +
                             r1::stringifyScheme(encoding.getScheme()));

  WeightEncoder encoder(program.type());
  encoded.resize(encoder.panelBytes() * divideCeil(rows, encoding.getPanel()));
  encoder.encode(values, rows, encoded, scales,
                 options.importance
                     ? options.importance->find(weight.name, unit.layer)
                     : ArrayRef<float>());
  const uint64_t offset =
      unit.offset + first / encoding.getPanel() * encoder.panelBytes();
  if (Error error = sink.write(offset, encoded))
    return error;
  Finished finished{offset, encoded.size(), BLAKE3::hash<32>(encoded), 0, 0};
  if (options.report) {
    std::vector<float> stored(values.size());
    encoder.decode(encoded, rows, stored);
    for (auto [exact, rounded] : zip_equal(values, stored)) {
      const double change = static_cast<double>(exact) - rounded;
      finished.energy += static_cast<double>(exact) * exact;
      finished.error += change * change;
    }
  }
  return finished;
}

void WeightWriter::finish(uint64_t tile, Expected<Finished> result) {
  std::lock_guard lock(mutex);
  if (!result) {
    // All tiles before this one were taken, so that the first of all failures
    // is found whatever thread comes first.
    std::string message = toString(result.takeError());
    if (tile < failedTile) {
      failedTile = tile;
      failure = std::move(message);
    }
    return;
  }
  waiting.emplace(tile, *result);
  for (auto it = waiting.begin();
       it != waiting.end() && it->first == nextCombined;
       it = waiting.erase(it), ++nextCombined) {
    std::array<uint8_t, 8> offset;
    support::endian::write64le(offset.data(), it->second.offset);
    identity.update(offset);
    identity.update(it->second.digest);
    doneBytes += it->second.bytes;
    if (options.report) {
      StoredWeight &entry =
          (*options.report)[&unitOf(it->first) - units.data()];
      entry.energy += it->second.energy;
      entry.error += it->second.error;
    }
    if (options.progress)
      options.progress(doneBytes, totalBytes);
  }
}

void WeightWriter::work() {
  WeightProgram::Evaluator evaluator;
  Buffers buffers;
  while (std::optional<uint64_t> tile = takeTile())
    finish(*tile, writeTile(*tile, evaluator, buffers));
}

Expected<ContentId> WeightWriter::run() {
  DefaultThreadPool pool(hardware_concurrency(options.threads));
  for (unsigned i = 0; i < pool.getMaxConcurrency(); ++i)
    pool.async([this] { work(); });
  pool.wait();
  if (failedTile != UINT64_MAX)
    return createStringError(failure);
  return identity.final<32>();
}

} // namespace

Expected<ContentId> writeWeights(mlir::ModuleOp module,
                                 const Checkpoint &checkpoint, WeightSink &sink,
                                 const WeightWriterOptions &options) {
  WeightWriter writer(sink, options);
  if (Error error = writer.collect(module, checkpoint))
    return error;
  return writer.run();
}

} // namespace sputnik
