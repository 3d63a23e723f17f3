// The distillation loss against its formula, and the teacher's mode.
#include "nn/distillation.h"

#include <cmath>

#include "core/tape.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"
#include "support/values.h"

using namespace qgrad;

TEST_CASE("the distillation loss is the mean divergence of tempered probabilities, times the temperature squared") {
  const float temperature = GENERATE(1.0f, 4.0f);
  const Tensor student = test::normal_tensor({3, 5}, 1, 2), teacher = test::normal_tensor({3, 5}, 2, 2);
  const auto probabilities = [&](const Tensor& logits, size_t row) {
    std::vector<double> p;
    double total = 0;
    for (size_t c = 0; c < 5; ++c) total += p.emplace_back(std::exp(double{logits.data()[row * 5 + c]} / temperature));
    for (double& value : p) value /= total;
    return p;
  };
  double expected = 0;
  for (size_t row = 0; row < 3; ++row) {
    const std::vector<double> p = probabilities(teacher, row), q = probabilities(student, row);
    for (size_t c = 0; c < 5; ++c) expected += p[c] * std::log(p[c] / q[c]);
  }
  expected *= temperature * temperature / 3;
  CHECK(distillation_loss(student, teacher, temperature).item() == Approx(expected).epsilon(1e-5));
  CHECK(test::gradcheck([&](test::Inputs in) { return distillation_loss(in[0], teacher, temperature); }, {student}) ==
        "");
}

TEST_CASE("a student that agrees with its teacher has no distillation loss") {
  const Tensor logits = test::normal_tensor({4, 10}, 1, 3);
  CHECK(distillation_loss(logits, logits, 2).item() == Approx(0).margin(1e-5));
}

TEST_CASE("a teacher of other classes is refused") {
  CHECK(test::error_of([] {
          distillation_loss(Tensor::zeros({2, 10}), Tensor::zeros({2, 7}), 1);
        }) == "distillation: the teacher gives [2,7], the student [2,10]");
}

TEST_CASE("a teacher is in evaluation mode while the student trains, and nothing of it is recorded") {
  auto net = std::make_unique<Sequential>();
  net->add("fc", std::make_unique<Linear>(4, 3));
  net->add("bn", std::make_unique<BatchNorm1d>(BatchNormConfig{.features = 3}));
  auto& fc = dynamic_cast<Linear&>(*find_module(*net, "fc"));
  auto& norm = dynamic_cast<BatchNorm&>(*find_module(*net, "bn"));
  fc.weight.set_raw(test::normal_tensor({4, 3}, 1));
  norm.running_mean.set(test::normal_tensor({3}, 2));
  const Teacher teacher(std::move(net));
  const Tensor x = test::normal_tensor({5, 4}, 3);

  Linear student(4, 3);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor target = teacher({&x, 1});
  tape.backward(distillation_loss(student(x), target, 2));
  CHECK_FALSE(norm.training());
  CHECK(test::bits(norm.running_mean()) == test::bits(test::normal_tensor({3}, 2)));
  const Tensor first = slice(x, 0, 0, 1);
  CHECK(test::bits(teacher({&first, 1})) == test::bits(slice(target, 0, 0, 1)));  // no batch statistics
  CHECK(student.weight.raw().grad().defined());
  CHECK_FALSE(fc.weight.raw().grad().defined());
}

namespace {

// "body.fc", "body.relu", "head"
ModulePtr two_layers(uint64_t seed) {
  auto body = std::make_unique<Sequential>();
  body->add("fc", std::make_unique<Linear>(4, 6));
  body->add("relu", std::make_unique<ReLU>());
  auto net = std::make_unique<Sequential>();
  net->add("body", std::move(body));
  net->add("head", std::make_unique<Linear>(6, 3));
  for (const char* path : {"body.fc", "head"}) {
    auto& layer = dynamic_cast<Linear&>(*find_module(*net, path));
    layer.weight.set_raw(test::normal_tensor(layer.weight.raw().shape(), seed));
  }
  return net;
}

}  // namespace

TEST_CASE("the feature loss is the squared distance from the teacher's features in parts of their own squares") {
  const Tensor a = test::normal_tensor({2, 3, 4}, 1), b = test::normal_tensor({5, 2}, 2);
  const Tensor teacher[] = {test::normal_tensor({2, 3, 4}, 3), test::normal_tensor({5, 2}, 4)};
  const auto part = [](const Tensor& x, const Tensor& y) {
    double distance = 0, size = 0;
    for (size_t i = 0; i < x.data().size(); ++i) {
      distance += std::pow(double{x.data()[i]} - y.data()[i], 2);
      size += std::pow(double{y.data()[i]}, 2);
    }
    return distance / size;
  };
  const Tensor student[] = {a, b};
  CHECK(feature_loss(student, teacher).item() == Approx((part(a, teacher[0]) + part(b, teacher[1])) / 2).epsilon(1e-5));
  CHECK(feature_loss(teacher, teacher).item() == 0);
  CHECK(test::gradcheck(
            [&](test::Inputs in) {
              const Tensor features[] = {in[0], in[1]};
              return feature_loss(features, teacher);
            },
            {a, b}) == "");
  const Tensor zeros[] = {Tensor::zeros({2, 3, 4}), Tensor::zeros({5, 2})};
  CHECK(feature_loss(zeros, teacher).item() == Approx(1).epsilon(1e-5));
  CHECK(std::isfinite(feature_loss(student, zeros).item()));  // a teacher that is dead
}

TEST_CASE("features of other shapes are refused") {
  const Tensor student[] = {Tensor::zeros({2, 4})}, teacher[] = {Tensor::zeros({2, 5})};
  CHECK(test::error_of([&] { feature_loss(student, teacher); }) ==
        "distillation: a feature of the teacher is [2,5], the student's [2,4]");
}

TEST_CASE("features are the outputs of the named modules in the order of their names") {
  const ModulePtr net = two_layers(1);
  FeatureRecorder recorder(*net, {"head", "body"}, "student");
  const Tensor x = test::normal_tensor({5, 4}, 2);
  Tensor y;
  {
    const Observing observing(recorder);
    y = (*net)(x);
  }
  (*net)(test::normal_tensor({5, 4}, 3));  // not observed
  const std::vector<Tensor> features = recorder.take();
  REQUIRE(features.size() == 2);
  CHECK(test::bits(features[0]) == test::bits(y));
  CHECK(test::bits(features[1]) == test::bits((*find_module(*net, "body"))(x)));
  CHECK(test::error_of([&] { recorder.take(); }) == "distillation.features: 'head' of the student was not called");
  CHECK(test::error_of([&] { FeatureRecorder(*net, {"body.conv"}, "teacher"); }) ==
        "distillation.features: the teacher has no module 'body.conv'");
}

TEST_CASE("training on the teacher's features alone brings the student's to them") {
  const ModulePtr student = two_layers(1);
  const Teacher teacher(two_layers(2));
  const std::vector<std::string> paths = {"body"};
  FeatureRecorder of_student(*student, paths, "student"), of_teacher(teacher.model(), paths, "teacher");
  auto& fc = dynamic_cast<Linear&>(*find_module(*student, "body.fc"));
  auto& head = dynamic_cast<Linear&>(*find_module(*student, "head"));
  const Tensor x = test::normal_tensor({40, 4}, 3);
  float first = 0, last = 0;
  for (int step = 0; step < 200; ++step) {
    Tape tape;
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      {
        const Observing observing(of_student);
        (*student)(x);
      }
      {
        const Observing observing(of_teacher);
        teacher({&x, 1});
      }
      loss = feature_loss(of_student.take(), of_teacher.take());
    }
    tape.backward(loss);
    last = loss.item();
    if (step == 0) first = last;
    for (Parameter* p : {&fc.weight, &fc.bias}) {
      p->set_raw(sub(p->raw(), mul_scalar(p->raw().grad(), 2.0f)));
      p->raw().set_grad(Tensor());
    }
  }
  CHECK(first > 0.3f);
  CHECK(last < 0.02f);
  CHECK_FALSE(head.weight.raw().grad().defined());
}
