//===- WeightReport.cpp - What an image holds of each weight --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/weights/WeightReport.h"

#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <map>

using namespace llvm;

namespace sputnik {

double StoredWeight::relativeError() const {
  return energy > 0 ? std::sqrt(error / energy) : 0;
}

void StoredWeight::add(const StoredWeight &other) {
  elements += other.elements;
  bytes += other.bytes;
  energy += other.energy;
  error += other.error;
}

namespace {

struct Totals {
  std::map<r1::Scheme, StoredWeight> formats;
  StoredWeight all;

  explicit Totals(const WeightReport &report) {
    for (const StoredWeight &weight : report) {
      StoredWeight &format = formats[weight.scheme];
      format.scheme = weight.scheme;
      format.add(weight);
      all.add(weight);
    }
  }
};

void printLine(raw_ostream &os, StringRef name, StringRef layer,
               StringRef format, const StoredWeight &weight) {
  os << formatv("{0,-24}{1,5}  {2,-8}{3,14}{4,8:F3}{5,12:F6}\n", name, layer,
                format, weight.bytes, weight.bits(), weight.relativeError());
}

json::Object asJson(const StoredWeight &weight) {
  return json::Object{{"elements", static_cast<int64_t>(weight.elements)},
          {"bytes", static_cast<int64_t>(weight.bytes)},
          {"bits", weight.bits()},
          {"relative_error", weight.relativeError()}};
}

} // namespace

void printReport(const WeightReport &report, raw_ostream &os) {
  os << formatv("{0,-24}{1,5}  {2,-8}{3,14}{4,8}{5,12}\n", "weight", "layer",
                "format", "bytes", "bits", "error");
  for (const StoredWeight &weight : report)
    printLine(os, weight.name, weight.layer ? Twine(*weight.layer).str() : "-",
              r1::stringifyScheme(weight.scheme), weight);
  const Totals totals(report);
  for (const auto &[scheme, sums] : totals.formats)
    printLine(os, "total", "", r1::stringifyScheme(scheme), sums);
  printLine(os, "total", "", "all", totals.all);
}

json::Value reportAsJson(const WeightReport &report) {
  json::Array weights, formats;
  for (const StoredWeight &weight : report) {
    json::Object entry = asJson(weight);
    entry["name"] = weight.name;
    if (weight.layer)
      entry["layer"] = *weight.layer;
    entry["format"] = r1::stringifyScheme(weight.scheme);
    weights.push_back(std::move(entry));
  }
  const Totals totals(report);
  for (const auto &[scheme, sums] : totals.formats) {
    json::Object entry = asJson(sums);
    entry["format"] = r1::stringifyScheme(scheme);
    formats.push_back(std::move(entry));
  }
  return json::Object{{"weights", std::move(weights)},
                      {"formats", std::move(formats)},
                      {"total", asJson(totals.all)}};
}

} // namespace sputnik
