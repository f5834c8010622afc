// RUN: %sputnik-opt %s --verify-diagnostics --r1-form-regions

func.func @foreign_op(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  // expected-error @+1 {{'arith.addf' op is not an op of the r1 graph: no region can hold it}}
  %0 = arith.addf %x, %x : tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}
