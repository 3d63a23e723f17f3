/* Runs quantized networks from program files (`qgrad export CHECKPOINT --program FILE`): the C interface of the library
 * qgrad_engine, which needs nothing but the C++ runtime.
 *
 *   qgrad_engine* engine = qgrad_engine_open("resnet20.qgi");
 *   if (!engine) fprintf(stderr, "%s\n", qgrad_engine_error());
 *   else if (qgrad_engine_run_bytes(engine, pixels, 1, scores)) ...
 *
 * Functions that can fail return NULL or 0 then, and qgrad_engine_error says why; a NULL where an engine, images or an
 * output is expected is such a failure. An engine may be used by several threads at once. */
#ifndef QGRAD_ENGINE_H
#define QGRAD_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define QGRAD_ENGINE_API __attribute__((visibility("default")))
#else
#define QGRAD_ENGINE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qgrad_engine qgrad_engine;

/* Reads a program file, or its bytes, which are not needed afterwards. NULL where it is none that can be run. */
QGRAD_ENGINE_API qgrad_engine* qgrad_engine_open(const char* path);
QGRAD_ENGINE_API qgrad_engine* qgrad_engine_open_memory(const void* bytes, size_t size);
QGRAD_ENGINE_API void qgrad_engine_free(qgrad_engine* engine); /* NULL is allowed */

/* What went wrong in this thread's last call that failed; "" before. Valid until the next one. */
QGRAD_ENGINE_API const char* qgrad_engine_error(void);

/* Of one image, in the order rows, columns, channels. */
QGRAD_ENGINE_API int64_t qgrad_engine_input_height(const qgrad_engine* engine);
QGRAD_ENGINE_API int64_t qgrad_engine_input_width(const qgrad_engine* engine);
QGRAD_ENGINE_API int64_t qgrad_engine_input_channels(const qgrad_engine* engine);
/* Numbers that come out for one image. */
QGRAD_ENGINE_API int64_t qgrad_engine_output_count(const qgrad_engine* engine);
/* The name of output `index`, or NULL where the program names none. Valid as long as the engine. */
QGRAD_ENGINE_API const char* qgrad_engine_class_name(const qgrad_engine* engine, int64_t index);

/* Runs `count` images that follow each other in memory, and writes output_count numbers for each. `images` are
 * normalised as in training; those of run_bytes are pixels from 0 to 255, which the program normalises. Returns 1. */
QGRAD_ENGINE_API int qgrad_engine_run(const qgrad_engine* engine, const float* images, int64_t count, float* output);
QGRAD_ENGINE_API int qgrad_engine_run_bytes(const qgrad_engine* engine, const uint8_t* images, int64_t count,
                                            float* output);

/* For all engines; from the next run on. Default: one for each of the processor's threads. Where the system gives
 * fewer, these do the work. Returns 1. */
QGRAD_ENGINE_API int qgrad_engine_set_threads(int threads);

#ifdef __cplusplus
}
#endif

#endif
