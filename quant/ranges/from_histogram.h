// Clipping ranges read off a histogram: percentile, least square error, least divergence.
#pragma once

#include "quant/ranges/histogram.h"
#include "quant/ranges/ranges.h"

namespace qgrad {

// Whether a clip mode needs a histogram: PERCENTILE, MSE and KL.
bool needs_histogram(ClipMode clip);

// The range under the settings' clip mode, one of those three; never beyond `full`, the values' own range. Where only
// positive values matter (half_range) it begins at 0; for symmetric modes its ends are +-t.
//   PERCENTILE  keeps settings.percentile percent of the values: symmetric and half range of the magnitudes,
//               asymmetric cutting equal shares at both ends. (McKinstry et al., "Discovering low-precision networks
//               close to full-precision networks for efficient embedded inference", 2018)
//   MSE         the least mean square error of quantizing with the settings' bits and mode, by search: symmetric over
//               t, asymmetric over both ends in turn. (Choukroun et al., "Low-bit quantization of neural networks for
//               efficient inference", 2019)
//   KL          the least Kullback-Leibler divergence of the quantized distribution of magnitudes from the one with
//               all beyond t moved to t. (Migacz, "8-bit inference with TensorRT", GTC 2017)
ValueRange range_from_histogram(const Histogram& histogram, const ValueRange& full, const QuantSettings& settings);

// Mean square error of quantizing the histogram's values for a range, as if they were spread evenly within each bin.
double mean_square_error(const Histogram& histogram, const ValueRange& range, const QuantSettings& settings);

}  // namespace qgrad
