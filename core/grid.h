// How numbers sit on integers.
#pragma once

namespace qgrad {

// x = (q + zero_point) / scale, or (q + zero_point) * step() where ONNX's arithmetic counts, for the integers q from
// qmin to qmax. All four are floats, since simulations compute in them; zero_point, qmin and qmax are whole.
struct Grid {
  float scale = 1, zero_point = 0;
  float qmin = 0, qmax = 0;

  float step() const { return 1.0f / scale; }
  // The ends, in steps from zero.
  float lowest() const { return qmin + zero_point; }
  float highest() const { return qmax + zero_point; }
  float largest() const { return -lowest() > highest() ? -lowest() : highest(); }
  bool operator==(const Grid&) const = default;
};

}  // namespace qgrad
