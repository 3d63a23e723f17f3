// The C interface: engines behind a handle, exceptions as a message.
#include "engine/qgrad_engine.h"

#include <exception>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/parallel.h"
#include "engine/engine.h"
#include "engine/program_file.h"

struct qgrad_engine {
  qgrad::deploy::Engine engine;
};

namespace {

using qgrad::deploy::Engine;

thread_local std::string last_error;

// f's result, or `failed` with the reason kept.
template <class T, class F>
T guarded(T failed, F&& f) {
  try {
    return f();
  } catch (const std::exception& e) {
    try {
      last_error = e.what();
    } catch (const std::exception&) {  // no memory for the message
      last_error.clear();
    }
    return failed;
  }
}

// Of a handle that may be NULL.
const Engine& engine_of(const qgrad_engine* handle) {
  qgrad::check(handle != nullptr, "engine: expected an engine, got NULL");
  return handle->engine;
}

int64_t input_size(const qgrad_engine* handle, int32_t qgrad::deploy::TensorInfo::*size) {
  return guarded<int64_t>(0, [&] {
    const qgrad::deploy::Program& program = engine_of(handle).program();
    return program.tensors[static_cast<size_t>(program.input)].*size;
  });
}

// `count` times `each` numbers, checked before they are believed.
template <class T>
std::span<T> numbers(T* start, int64_t count, int64_t each, const char* what) {
  qgrad::check(count >= 0 && count <= std::numeric_limits<int64_t>::max() / each / 8, "engine: {} images", count);
  qgrad::check(start != nullptr || count == 0, "engine: expected {}, got NULL", what);
  return {start, static_cast<size_t>(count * each)};
}

}  // namespace

qgrad_engine* qgrad_engine_open(const char* path) {
  return guarded<qgrad_engine*>(nullptr, [&] {
    qgrad::check(path != nullptr, "engine: expected a path, got NULL");
    return new qgrad_engine{Engine(qgrad::deploy::read_program(path))};
  });
}

qgrad_engine* qgrad_engine_open_memory(const void* bytes, size_t size) {
  return guarded<qgrad_engine*>(nullptr, [&] {
    qgrad::check(bytes != nullptr, "engine: expected bytes, got NULL");
    const std::string_view view(static_cast<const char*>(bytes), size);
    return new qgrad_engine{Engine(qgrad::deploy::program_from_bytes(view, "program in memory"))};
  });
}

void qgrad_engine_free(qgrad_engine* engine) { delete engine; }

const char* qgrad_engine_error(void) { return last_error.c_str(); }

int64_t qgrad_engine_input_height(const qgrad_engine* engine) {
  return input_size(engine, &qgrad::deploy::TensorInfo::height);
}
int64_t qgrad_engine_input_width(const qgrad_engine* engine) {
  return input_size(engine, &qgrad::deploy::TensorInfo::width);
}
int64_t qgrad_engine_input_channels(const qgrad_engine* engine) {
  return input_size(engine, &qgrad::deploy::TensorInfo::channels);
}
int64_t qgrad_engine_output_count(const qgrad_engine* engine) {
  return guarded<int64_t>(0, [&] { return engine_of(engine).output_count(); });
}

const char* qgrad_engine_class_name(const qgrad_engine* engine, int64_t index) {
  return guarded<const char*>(nullptr, [&]() -> const char* {
    const std::vector<std::string>& names = engine_of(engine).program().class_names;
    return index >= 0 && index < std::ssize(names) ? names[static_cast<size_t>(index)].c_str() : nullptr;
  });
}

int qgrad_engine_run(const qgrad_engine* engine, const float* images, int64_t count, float* output) {
  return guarded(0, [&] {
    const Engine& e = engine_of(engine);
    e.run(numbers(images, count, e.input_count(), "images"), numbers(output, count, e.output_count(), "an output"));
    return 1;
  });
}

int qgrad_engine_run_bytes(const qgrad_engine* engine, const uint8_t* images, int64_t count, float* output) {
  return guarded(0, [&] {
    const Engine& e = engine_of(engine);
    e.run_bytes(numbers(images, count, e.input_count(), "images"),
                numbers(output, count, e.output_count(), "an output"));
    return 1;
  });
}

int qgrad_engine_set_threads(int threads) {
  return guarded(0, [&] {
    qgrad::set_num_threads(threads);
    return 1;
  });
}
