//===- WeightProgram.h - Programs over weights, ready to run ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_CODEGEN_WEIGHTS_WEIGHTPROGRAM_H
#define SPUTNIK_CODEGEN_WEIGHTS_WEIGHTPROGRAM_H

#include "dialect/R1.h"
#include "importer/Checkpoint.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <array>
#include <vector>

namespace sputnik {

/// The body of one r1.derived, checked against the checkpoint. A value of rank
/// 1 counts as a matrix of one column.
class WeightProgram {
public:
  /// Errors: an origin that is not in the checkpoint or does not fit its
  /// weight's shape; programs that read each other in a circle; a result
  /// without an encoding.
  static llvm::Expected<WeightProgram> create(r1::DerivedOp derived,
                                              const Checkpoint &checkpoint);

  int64_t rows() const { return nodes.back().rows; }
  int64_t columns() const { return nodes.back().columns; }
  int64_t layers() const { return layerCount; }
  /// The result's type. Values are not rounded to its encoding.
  mlir::RankedTensorType type() const { return resultType; }
  r1::EncodingAttr encoding() const { return r1::getEncoding(resultType); }
  /// Whether some values are stored with scales of blocks.
  bool hasBlockScales() const;

  /// Runs a program for one tile after another; one per thread.
  class Evaluator {
  public:
    /// Writes the values of rows [first, first + count) in `layer` to `out`.
    /// Errors name the file and tensor: a value that is NaN or infinite, a file
    /// that can no longer be read.
    llvm::Error evaluate(const WeightProgram &program, int64_t layer,
                         int64_t first, int64_t count, float *out);
    /// Writes for each of these values the scale of its block, if it is the
    /// product of that and what a file stores, else 0.
    llvm::Error evaluateScales(const WeightProgram &program, int64_t layer,
                               int64_t first, int64_t count, float *out);
    /// Gives back the memory of the pages that evaluate() has read.
    void releasePages();

  private:
    llvm::Error run(const WeightProgram &program, unsigned node, int64_t layer,
                    int64_t first, int64_t count, float *out);
    llvm::Error runRead(const WeightProgram &program, unsigned node,
                        int64_t layer, int64_t first, int64_t count,
                        float *out);
    llvm::Error runConcat(const WeightProgram &program, unsigned node,
                          int64_t layer, int64_t first, int64_t count,
                          float *out);
    llvm::Error runUnpermute(const WeightProgram &program, unsigned node,
                             int64_t layer, int64_t first, int64_t count,
                             float *out);
    llvm::Error runSliceRows(const WeightProgram &program, unsigned node,
                             int64_t layer, int64_t first, int64_t count,
                             float *out);
    llvm::Error runSliceColumns(const WeightProgram &program, unsigned node,
                                int64_t layer, int64_t first, int64_t count,
                                float *out);
    llvm::Error runTranspose(const WeightProgram &program, unsigned node,
                             int64_t layer, int64_t first, int64_t count,
                             float *out);
    llvm::Error runBlockScale(const WeightProgram &program, unsigned node,
                              int64_t layer, int64_t first, int64_t count,
                              float *out);
    struct Touched {
      llvm::ArrayRef<uint8_t> bytes;
      llvm::ArrayRef<uint8_t> file;
    };
    llvm::SmallVector<Touched, 8> touched;
    /// Values are replaced by the scales of their blocks.
    bool scalesOnly = false;
  };

private:
  enum class Kind {
    Read,
    ScaleColumns,
    Concat,
    Unpermute,
    SliceRows,
    SliceColumns,
    Transpose,
    BlockScale,
    Round,
    Zero
  };

  /// A stored tensor.
  struct Source {
    TensorType type;
    llvm::ArrayRef<uint8_t> bytes;
    unsigned file;
    uint64_t offset;
  };

  struct Node {
    Kind kind;
    int64_t rows, columns;
    /// Earlier nodes.
    llvm::SmallVector<unsigned, 4> inputs;
    /// Rows of a concat's blocks, 0 for none; rows of an unpermute's heads;
    /// where a slice starts in its part, or among the columns.
    int64_t group = 0;
    /// Rows of the operands' parts; of a read, those of one stored tensor.
    int64_t part = 0;
    /// Rows and columns of scaled blocks.
    std::array<int64_t, 2> block = {1, 1};
    /// What a value in the middle of a program is rounded to.
    r1::Scheme scheme = r1::Scheme::F32;
    /// Of a read: one for each part of each layer, or of one for all.
    std::vector<Source> sources;
  };

  friend class WeightProgramBuilder;

  explicit WeightProgram(const Checkpoint &checkpoint)
      : checkpoint(&checkpoint) {}

  /// `file: tensor 'name'`, followed by `message`.
  llvm::Error sourceError(const Source &source,
                          const llvm::Twine &message) const;

  const Checkpoint *checkpoint;
  int64_t layerCount = 1;
  mlir::RankedTensorType resultType;
  /// The last one is the result.
  std::vector<Node> nodes;
};

} // namespace sputnik

#endif // SPUTNIK_CODEGEN_WEIGHTS_WEIGHTPROGRAM_H
