// Schedules of Distiller as configs: what is converted, what is left out and said, what is refused.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/distiller/schedule.h"
#include "apps/distiller/yaml.h"
#include "core/file.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using qgrad::test::error_of;
using qgrad::test::TemporaryFolder;

namespace {

constexpr const char* kPactSchedule = R"(
version: 1
quantizers:
  clips:
    class: PACTQuantizer
    act_clip_init_val: 6.0
    bits_activations: 4
    bits_weights: 3
    overrides:
      conv1: {bits_weights: ~, bits_activations: ~}
      final_relu: {bits_activations: null}
      fc:
        bits_weights: 8
lr_schedulers:
  falling:
    class: MultiStepLR
    milestones: [10, 15]
    gamma: 0.2
policies:
  - quantizer: {instance_name: clips}
    starting_epoch: 0
    ending_epoch: 300
    frequency: 1
  - lr_scheduler: {instance_name: falling}
    starting_epoch: 0
    ending_epoch: 300
    frequency: 1
)";

Json yaml(const std::string& text) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "s.yaml", text);
  return read_yaml(folder.path() / "s.yaml");
}

std::string yaml_error(const std::string& text) {
  const std::string error = error_of([&] { yaml(text); });
  return error.substr(std::min(error.size(), error.find("s.yaml")));
}

ConvertedSchedule convert(const std::string& text,
                          const DistillerCommandLine& line = {.arch = "preact_resnet20_cifar", .epochs = 20}) {
  return convert_schedule({yaml(text), "s.yaml"}, "s", line);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// The only note.
std::string note_of(const ConvertedSchedule& converted) {
  REQUIRE(converted.notes.size() == 1);
  return converted.notes[0];
}

}  // namespace

TEST_CASE("YAML's scalars become JSON's as PyYAML reads them", "[distiller]") {
  CHECK(yaml("[~, null, Null, '', \"null\"]") == Json{nullptr, nullptr, nullptr, "", "null"});
  CHECK(yaml("[true, Yes, off, 'yes', NONE]") == Json{true, true, false, "yes", "NONE"});
  CHECK(yaml("[8, -3, +2, 0, 0.5, .5, 1e-3, 2., 8.0]") == Json{8, -3, 2, 0, 0.5, 0.5, 1e-3, 2.0, 8.0});
  CHECK(yaml("[010, 0x10, 1_000, 1.2.3, -, .*add, 3x3]") == Json{"010", "0x10", "1_000", "1.2.3", "-", ".*add", "3x3"});
  CHECK(yaml("{0: a, layer1.0: b}") == Json{{"0", "a"}, {"layer1.0", "b"}});
}

TEST_CASE("YAML that has no form in JSON is an error with its line", "[distiller]") {
  CHECK(yaml_error("a: 1\nb: 2\na: 3\n") == "s.yaml: line 3: the key 'a' stands twice");
  CHECK(yaml_error("a: [1, 2\n").starts_with("s.yaml: line "));
  CHECK(yaml_error("[a]: 1\n") == "s.yaml: line 1: expected a key that is text or a number");
  CHECK(yaml_error("a: 1\n---\nb: 2\n") == "s.yaml: expected one YAML document, got 2");
  CHECK(yaml_error("a: &a [*a]\n") == "s.yaml: line 1: nested deeper than 100 levels");
  std::string bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n";
  for (char c = 'b'; c < 'k'; ++c)
    bomb += fmt::format("{0}: &{0} [*{1}, *{1}, *{1}, *{1}, *{1}, *{1}, *{1}, *{1}, *{1}, *{1}]\n", c,
                        static_cast<char>(c - 1));
  CHECK(yaml_error(bomb).find("more than 1000000 values") != std::string::npos);
}

TEST_CASE("a schedule for training becomes a config of the same training", "[distiller]") {
  const ConvertedSchedule converted = convert(kPactSchedule);
  CHECK(converted.notes.empty());
  CHECK(converted.config == parse_json(R"({
    "name": "s",
    "data": {"dataset": {"class": "cifar10"},
             "transforms": {"mean": [0.5], "std": [0.5], "crop_padding": 4, "flip": true}, "validation": 0.1},
    "model": {"class": "preact_resnet20"},
    "train": {"epochs": 20, "batch_size": 256,
              "optimizer": {"class": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0001},
              "schedule": {"class": "multi_step", "milestones": [10.0, 15.0], "gamma": 0.2}},
    "quantizer": {"class": "PACTQuantizer", "act_clip_init_val": 6.0, "bits_activations": 4, "bits_weights": 3,
                  "overrides": {"conv1": {"bits_weights": null, "bits_activations": null},
                                "final_relu": {"bits_activations": null}, "fc": {"bits_weights": 8}}}})",
                                       "expected"));
}

TEST_CASE("the schedule and the config that docs/coming_from.md shows side by side are the same", "[distiller]") {
  const std::string page = read_file(std::filesystem::path(QGRAD_SOURCE_DIR) / "docs/coming_from.md", "a document");
  const auto block = [&](const std::string& language) {
    const size_t begin = page.find("```" + language + "\n") + language.size() + 4;
    return page.substr(begin, page.find("```", begin) - begin);
  };
  const DistillerCommandLine line{
      .arch = "preact_resnet20_cifar", .epochs = 200, .batch_size = 128, .weight_decay = 0.0002, .validation_split = 0};
  const ConvertedSchedule converted =
      convert_schedule({yaml(block("yaml")), "s.yaml"}, "preact_resnet20_cifar_pact", line);
  CHECK(converted.notes.empty());
  CHECK(converted.config == parse_json(block("json"), "docs/coming_from.md"));
}

TEST_CASE("schedulers of learning rates become schedules", "[distiller]") {
  const auto schedule = [](const std::string& scheduler) {
    return convert("lr_schedulers: {a: " + scheduler +
                   "}\npolicies: [{lr_scheduler: {instance_name: a}, ending_epoch: 20}]")
        .config.at("train")
        .at("schedule");
  };
  CHECK(schedule("{class: MultiStepMultiGammaLR, milestones: [5, 9], gammas: [0.1, 0.5]}") ==
        Json{{"class", "multi_step_multi_gamma"}, {"milestones", {5.0, 9.0}}, {"gammas", {0.1, 0.5}}});
  CHECK(schedule("{class: StepLR, step_size: 7}") == Json{{"class", "step"}, {"step_size", 7.0}, {"gamma", 0.1}});
  CHECK(schedule("{class: ExponentialLR, gamma: 0.95}") == Json{{"class", "step"}, {"step_size", 1}, {"gamma", 0.95}});
  CHECK(schedule("{class: CosineAnnealingLR, T_max: 20, eta_min: 0.05}") ==
        Json{{"class", "cosine"}, {"min_factor", 0.5}});
  CHECK(schedule("{class: PolynomialLR, T_max: 20, power: 2}") == Json{{"class", "polynomial"}, {"power", 2.0}});
  CHECK(error_of([&] { schedule("{class: CosineAnnealingLR, T_max: 15}"); }) ==
        "s.yaml: lr_schedulers.a: T_max: expected the number of epochs, 20 (--epochs), got 15");
  CHECK(error_of([&] {
          schedule("{class: ReduceLROnPlateau}");
        }).starts_with("s.yaml: lr_schedulers.a.class: qgrad has no counterpart of 'ReduceLROnPlateau'"));
}

TEST_CASE("a quantizer after training becomes a config of quantize", "[distiller]") {
  const std::string text = R"(
quantizers:
  after:
    class: PostTrainLinearQuantizer
    bits_activations: 6
    bits_parameters: 5
    mode: {activations: ASYMMETRIC_UNSIGNED, weights: SYMMETRIC}
    model_activation_stats: stats.yaml
    per_channel_wts: True
    clip_acts: AVG
    overrides:
      .*add: {bits_activations: 8}
      fc: {clip_acts: NONE, input_overrides: {0: {from_output: True}}}
)";
  const ConvertedSchedule converted = convert(text, {.arch = "resnet20_cifar"});
  CHECK(converted.config.at("quantizer") == parse_json(R"({
    "class": "PostTrainLinearQuantizer", "bits_activations": 6, "bits_weights": 5,
    "mode": {"activations": "ASYMMETRIC_UNSIGNED", "weights": "SYMMETRIC"}, "per_channel_wts": true, "clip_acts": "AVG",
    "overrides": {".*add": {"bits_activations": 8},
                  "fc": {"clip_acts": "NONE", "input_overrides": {"0": {"from_output": true}}}}})",
                                                       "expected"));
  CHECK(converted.config.at("calibration") == Json{{"images", 512}});
  CHECK_FALSE(converted.config.contains("train"));
  REQUIRE(converted.notes.size() == 2);
  CHECK(converted.notes[0].starts_with("checkpoint: to be added"));
  CHECK(converted.notes[1].starts_with("s.yaml: quantizers.after.model_activation_stats: left out"));

  const Json dynamic =
      convert(replaced(text, "    model_activation_stats: stats.yaml\n", ""), {.arch = "resnet20_cifar"}).config;
  CHECK(dynamic.at("calibration") == Json());
  CHECK(dynamic.at("quantizer").at("rounding") == "distiller");
  const Json approximated =
      convert(replaced(text, "clip_acts: NONE,", "scale_approx_mult_bits: 8,"), {.arch = "resnet20_cifar"}).config;
  CHECK(approximated.at("quantizer").at("rounding") == "distiller");
}

TEST_CASE("what is left out of a schedule is named, with its place and the reason", "[distiller]") {
  CHECK(note_of(convert(std::string(kPactSchedule) + "pruners: {p: {class: AutomatedGradualPruner}}")) ==
        "s.yaml: pruners.p: left out: qgrad does not prune");
  CHECK(note_of(convert(std::string(kPactSchedule) + "  - pruner: {instance_name: p}\n    epochs: [0]")) ==
        "s.yaml: policies[2]: left out, as what it acts on");
  CHECK(note_of(convert(replaced(kPactSchedule, "starting_epoch: 0", "starting_epoch: 3")))
            .starts_with("s.yaml: policies[0].starting_epoch: left out"));
  CHECK(note_of(convert(replaced(kPactSchedule, "ending_epoch: 300", "ending_epoch: 19")))
            .starts_with("s.yaml: policies[0]: all epochs are quantized"));
  CHECK(note_of(convert(replaced(kPactSchedule, "conv1:", "conv1|layer1.0.conv1:")))
            .starts_with("s.yaml: quantizers.clips.overrides.conv1|layer1.0.conv1: every alternative"));
  const std::string range_linear =
      "quantizers: {q: {class: QuantAwareTrainRangeLinearQuantizer, bits_weights: 8, bits_activations: 8}}\n"
      "policies: [{quantizer: {instance_name: q}, ending_epoch: 20}]";
  CHECK(note_of(convert(range_linear)).starts_with("s.yaml: quantizers.q.mode: SYMMETRIC"));
  CHECK(convert(replaced(range_linear, "bits_weights", "mode: ASYMMETRIC_UNSIGNED, bits_weights")).notes.empty());
  const ConvertedSchedule without_arch = convert(kPactSchedule, {.epochs = 20});
  CHECK(without_arch.notes.size() == 2);
  CHECK_FALSE(without_arch.config.contains("model"));
}

TEST_CASE("what a schedule can not say to qgrad is an error with its place", "[distiller]") {
  const auto refused = [](const std::string& text) { return error_of([&] { convert(text); }); };
  CHECK(refused(replaced(kPactSchedule, "act_clip_init_val", "act_clip_init_value"))
            .starts_with("s.yaml: quantizers.clips.act_clip_init_value: unknown key"));
  CHECK(refused(replaced(kPactSchedule, "PACTQuantizer", "PACTQuantiser")).find("quantizers.clips") !=
        std::string::npos);
  CHECK(refused(replaced(kPactSchedule, "final_relu", "last_relu"))
            .starts_with("s.yaml: quantizers.clips.overrides.last_relu: matches no module"));
  CHECK(refused(replaced(kPactSchedule, "{instance_name: falling}", "{instance_name: rising}")).find("rising") !=
        std::string::npos);
  CHECK(refused(replaced(kPactSchedule, "{instance_name: clips}", "{instance_name: clip}")).find("clip") !=
        std::string::npos);
  CHECK(refused(replaced(kPactSchedule, "policies:", "policy:")).starts_with("s.yaml: policy: unknown key"));
  CHECK(refused("quantizers: {a: {class: WRPNQuantizer}, b: {class: WRPNQuantizer}}")
            .starts_with("s.yaml: quantizers: expected one quantizer"));
  CHECK(refused("pruners: {p: {class: AutomatedGradualPruner}}").starts_with("s.yaml: neither a quantizer"));
  const std::string second = "  - lr_scheduler: {instance_name: falling}\n    ending_epoch: 20\n";
  CHECK(refused(std::string(kPactSchedule) + second).starts_with("s.yaml: policies[2]: a second policy"));
  const auto with_epochs = [](int first, int last) {
    return replaced(kPactSchedule, "falling}\n    starting_epoch: 0\n    ending_epoch: 300",
                    fmt::format("falling}}\n    starting_epoch: {}\n    ending_epoch: {}", first, last));
  };
  CHECK(refused(with_epochs(0, 12)) == "s.yaml: policies[1]: its epochs, 0 to 12, miss the milestone 15");
  CHECK(refused(with_epochs(10, 20)) == "s.yaml: policies[1]: its epochs, 10 to 20, miss the milestone 10");
  CHECK(convert(with_epochs(9, 15)).config == convert(kPactSchedule).config);
}
