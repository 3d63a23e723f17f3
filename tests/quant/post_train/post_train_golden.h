// Running PostTrainLinearQuantizer on the golden nets and comparing everything that the files tell.
#pragma once

#include <string>

#include "core/json.h"
#include "nn/module.h"

namespace qgrad::golden {

// A config from a case's inputs: Distiller's argument names and list of overrides.
Json post_train_config(const Json& case_inputs);
// The files' statistics (inputs as a list) as stats_from_json reads them.
Json stats_object(const Json& calibration_stats);

// Runs a net that was quantized after training and compares, layer by layer, with a case's forward pass.
// near_ties: so many values may be one step off.
void check_post_train_forward(Module& model, const Json& test_input, const Json& expected, int64_t near_ties);

// Quantizes the file's net as a case says, runs its test inputs, and compares classes, settings, scales, zero points,
// integer weights and, layer by layer, integer outputs. Failures are reported through CHECK. Returns whether the case
// needed Distiller's half range for inputs (inputs_keep_half_range): the files without variants were made with it.
// Throws where a file has another number of nets than one, or a case of forward passes than the net has inputs.
bool check_post_train_case(const Json& file, const Json& golden_case);

}  // namespace qgrad::golden
