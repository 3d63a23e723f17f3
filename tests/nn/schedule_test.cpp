// Learning-rate schedules.
#include "nn/optim/schedule.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/catch.h"

using namespace qgrad;

namespace {

std::unique_ptr<Schedule> schedule(const char* json) {
  return Registry<Schedule>::create({Json::parse(json), "", "schedule"});
}

}  // namespace

TEST_CASE("a constant schedule is the base learning rate") {
  CHECK(schedule(R"({"class": "constant"})")->lr(0.3f, 7.5, 10) == 0.3f);
}

TEST_CASE("step falls by gamma every step_size epochs") {
  const auto s = schedule(R"({"class": "step", "step_size": 10, "gamma": 0.5})");
  CHECK(s->lr(1, 9.99, 100) == 1);
  CHECK(s->lr(1, 10, 100) == 0.5f);
  CHECK(s->lr(1, 35, 100) == 0.125f);
}

TEST_CASE("multi_step falls by gamma at every milestone") {
  const auto s = schedule(R"({"class": "multi_step", "milestones": [80, 120], "gamma": 0.1})");
  CHECK(s->lr(1, 79.9, 160) == 1);
  CHECK(s->lr(1, 80, 160) == Approx(0.1));
  CHECK(s->lr(1, 159, 160) == Approx(0.01));
}

TEST_CASE("multi_step_multi_gamma multiplies the gammas reached") {
  const auto s = schedule(R"({"class": "multi_step_multi_gamma", "milestones": [1, 2, 4], "gammas": [0.5, 4, 0.1]})");
  CHECK(s->lr(1, 0, 5) == 1);
  CHECK(s->lr(1, 1, 5) == 0.5f);
  CHECK(s->lr(1, 3, 5) == 2);
  CHECK(s->lr(1, 4, 5) == Approx(0.2));
}

TEST_CASE("cosine goes from the base to the minimum, through the middle") {
  const auto s = schedule(R"({"class": "cosine", "min_factor": 0.1})");
  CHECK(s->lr(2, 0, 8) == 2);
  CHECK(s->lr(2, 2, 8) == Approx(2 * (0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2)));
  CHECK(s->lr(2, 4, 8) == Approx(1.1));
  CHECK(s->lr(2, 8, 8) == Approx(0.2));
}

TEST_CASE("one_cycle rises to the base and falls far below its start") {
  const auto s = schedule(R"({"class": "one_cycle", "rise_share": 0.25, "div_factor": 10, "final_div_factor": 100})");
  CHECK(s->lr(1, 0, 8) == Approx(0.1));
  CHECK(s->lr(1, 1, 8) == Approx(0.55));
  CHECK(s->lr(1, 2, 8) == 1);
  CHECK(s->lr(1, 5, 8) == Approx(0.5005));
  CHECK(s->lr(1, 8, 8) == Approx(0.001));
}

TEST_CASE("polynomial falls to zero") {
  const auto s = schedule(R"({"class": "polynomial", "power": 2})");
  CHECK(s->lr(1, 0, 4) == 1);
  CHECK(s->lr(1, 2, 4) == 0.25f);
  CHECK(s->lr(1, 4, 4) == 0);
}

TEST_CASE("warm-up scales any schedule up linearly, and then leaves it") {
  const auto s =
      schedule(R"({"class": "step", "step_size": 1, "gamma": 0.5, "warmup_epochs": 2, "warmup_start_factor": 0.2})");
  CHECK(s->lr(1, 0, 10) == Approx(0.2));
  CHECK(s->lr(1, 1, 10) == Approx(0.6 * 0.5));
  CHECK(s->lr(1, 2, 10) == 0.25f);
}

TEST_CASE("milestones out of order, and gammas without milestones, are refused") {
  CHECK_THROWS_AS(schedule(R"({"class": "multi_step", "milestones": [3, 2]})"), Error);
  CHECK_THROWS_AS(schedule(R"({"class": "multi_step", "milestones": [2, 2]})"), Error);
  CHECK_THROWS_AS(schedule(R"({"class": "multi_step"})"), Error);
  CHECK_THROWS_AS(schedule(R"({"class": "multi_step_multi_gamma", "milestones": [1], "gammas": [0.1, 0.2]})"), Error);
}
