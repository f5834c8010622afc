// RUN: %sputnik-opt %s --split-input-file --verify-diagnostics --r1-plan-memory

// expected-error @+1 {{has no r1.phase, which says how many rows a call carries; r1-specialize-phases gives it one}}
func.func @forward() {
  return
}

// -----

func.func @no_region(%x: tensor<?x16xf32>) attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  // expected-error @+1 {{is in no region; r1-form-regions makes them}}
  %0 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
  return
}

// -----

func.func @no_logits(%x: tensor<?x16xf32>) -> tensor<?x16xf32>
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  // expected-error @+1 {{returns a value that is not the result of a region: nothing would write the logits}}
  return %x : tensor<?x16xf32>
}

// -----

func.func @stream_from_outside(%x: tensor<?x16xf32>) attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  // expected-error @+1 {{takes a stream that is not the result of a region}}
  %0 = r1.layers %x count 2 first 0 : tensor<?x16xf32> {
  ^bb0(%layer: index, %y: tensor<?x16xf32>):
    r1.yield %y : tensor<?x16xf32>
  }
  return
}

// -----

func.func @stream_used_later(%x: tensor<?x16xf32>) attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.region "before" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  // expected-error @+1 {{overwrites its operand, which is used after the loop has started}}
  %1 = r1.layers %0 count 2 first 0 : tensor<?x16xf32> {
  ^bb0(%layer: index, %y: tensor<?x16xf32>):
    r1.yield %y : tensor<?x16xf32>
  }
  r1.region "after" {
    // expected-note @+1 {{used here}}
    %9 = r1.rms_norm %0 eps 1.0e-6 : tensor<?x16xf32>
    r1.yield
  }
  return
}

// -----

func.func @stream_still_needed(%x: tensor<?x16xf32>) attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.region "before" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  %1 = r1.layers %0 count 2 first 0 : tensor<?x16xf32> {
  // expected-note @+1 {{given here}}
  ^bb0(%layer: index, %y: tensor<?x16xf32>):
    // expected-error @+1 {{the stream that this layer yields cannot take the place of the one it was given, which is still needed}}
    %2 = r1.region "norm" -> (tensor<?x16xf32>) {
      %9 = r1.rms_norm %y eps 1.0e-6 : tensor<?x16xf32>
      r1.yield %9 : tensor<?x16xf32>
    }
    r1.yield %2 : tensor<?x16xf32>
  }
  return
}

// -----

func.func @stream_not_computed(%x: tensor<?x16xf32>) attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0:2 = r1.region "before" -> (tensor<?x16xf32>, tensor<?x16xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
    %10 = r1.add %9, %x : tensor<?x16xf32>
    r1.yield %9, %10 : tensor<?x16xf32>, tensor<?x16xf32>
  }
  // expected-error @+1 {{yields a value that is not computed in the loop}}
  %1 = r1.layers %0#0 count 2 first 0 : tensor<?x16xf32> {
  ^bb0(%layer: index, %y: tensor<?x16xf32>):
    r1.yield %0#1 : tensor<?x16xf32>
  }
  return
}

// -----

func.func @too_large(%x: tensor<?x2305843009213693951xf32>) attributes {r1.phase = #r1.phase<prefill, max_rows = 256>} {
  // expected-error @+1 {{result 0 is too large: 256 rows of 'tensor<?x2305843009213693951xf32>'}}
  %0 = r1.region "large" -> (tensor<?x2305843009213693951xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x2305843009213693951xf32>
    r1.yield %9 : tensor<?x2305843009213693951xf32>
  }
  return
}

// -----

// expected-error @+1 {{takes argument 5, expected no more than a state of the type of the one that it returns}}
func.func @no_state(%a: tensor<?xi32>, %b: tensor<?xi32>, %c: tensor<?xi32>, %d: tensor<?xi32>, %e: tensor<?xi32>, %x: tensor<?x16xf32>)
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  return
}

// -----

func.func @too_much(%x: tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>)
    attributes {r1.phase = #r1.phase<decode, max_rows = 1>} {
  %0 = r1.region "a" -> (tensor<?x16xf32>) {
    %9 = r1.rms_norm %x eps 1.0e-6 : tensor<?x16xf32>
    r1.yield %9 : tensor<?x16xf32>
  }
  // expected-error @+1 {{returns more than logits and a state}}
  return %0, %0 : tensor<?x16xf32>, tensor<?x16xf32>
}
