//===- ConfigFields.h - Checked reading of configuration keys ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_IMPORTER_CONFIGFIELDS_H
#define SPUTNIK_IMPORTER_CONFIGFIELDS_H

#include "importer/Gguf.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <optional>
#include <string>

namespace sputnik {

/// Finite numbers from `least`, or if `open` above it, to `most`.
struct RealRange {
  double least, most;
  bool open = true;

  bool holds(double value) const {
    return (open ? value > least : value >= least) && value <= most;
  }
};

/// Reads typed, range-checked values by key from a JSON object or from GGUF
/// metadata. The first error is kept and returned by `takeError`; after it, the
/// values returned are within their ranges but mean nothing. A JSON null counts
/// as absent.
class ConfigFields {
public:
  virtual ~ConfigFields() = default;

  /// An absent key gives the fallback, or an error where there is none.
  int64_t integer(llvm::StringRef key, int64_t least, int64_t most,
                  std::optional<int64_t> fallback = std::nullopt);
  double real(llvm::StringRef key, RealRange range,
              std::optional<double> fallback = std::nullopt);
  bool boolean(llvm::StringRef key, bool fallback);
  std::string string(llvm::StringRef key,
                     std::optional<llvm::StringRef> fallback = std::nullopt);

  /// As above; an absent key gives nothing.
  std::optional<int64_t> optionalInteger(llvm::StringRef key, int64_t least,
                                         int64_t most);
  std::optional<double> optionalReal(llvm::StringRef key, RealRange range);

  bool has(llvm::StringRef key) { return find(key).present; }

  /// Records `file: key 'key' is FOUND, expected EXPECTED`.
  void wrong(llvm::StringRef key, const llvm::Twine &expected);
  /// Records `file: message`.
  void fail(const llvm::Twine &message);
  bool failed() const { return !message.empty(); }
  /// The first error, or success.
  llvm::Error takeError();

  llvm::StringRef file() const { return fileName; }

protected:
  /// A value in each of the forms that it has.
  struct Field {
    bool present = false;
    std::optional<int64_t> integer;
    std::optional<double> number;
    std::optional<bool> boolean;
    std::optional<llvm::StringRef> string;
    std::string text; ///< As errors show it.
  };
  virtual Field find(llvm::StringRef key) = 0;
  /// The key as errors show it.
  virtual std::string fullKey(llvm::StringRef key) const { return key.str(); }

  explicit ConfigFields(llvm::StringRef file) : fileName(file) {}

private:
  std::string fileName;
  std::string message;
};

/// The members of a JSON object, which must outlive this.
class JsonFields : public ConfigFields {
public:
  /// `parent` is what errors put before the keys: `rope_scaling.`.
  JsonFields(const llvm::json::Object &object, llvm::StringRef file,
             llvm::StringRef parent = "")
      : ConfigFields(file), object(object), parent(parent) {}

protected:
  Field find(llvm::StringRef key) override;
  std::string fullKey(llvm::StringRef key) const override {
    return parent + key.str();
  }

private:
  const llvm::json::Object &object;
  std::string parent;
};

/// The metadata of a GGUF file, which must outlive this. A key that begins with
/// a dot gets the architecture before it.
class GgufFields : public ConfigFields {
public:
  GgufFields(const GgufFile &gguf, llvm::StringRef architecture)
      : ConfigFields(gguf.path()), gguf(gguf), architecture(architecture) {}

protected:
  Field find(llvm::StringRef key) override;
  std::string fullKey(llvm::StringRef key) const override {
    return key.starts_with(".") ? architecture + key.str() : key.str();
  }

private:
  const GgufFile &gguf;
  std::string architecture;
};

} // namespace sputnik

#endif // SPUTNIK_IMPORTER_CONFIGFIELDS_H
