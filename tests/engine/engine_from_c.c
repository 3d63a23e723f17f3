/* Uses the library qgrad_engine from C: runs the program of argv[1] on a grey image and prints the largest output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qgrad/engine/qgrad_engine.h>

int main(int argc, char** argv) {
  qgrad_engine* engine = qgrad_engine_open(argc > 1 ? argv[1] : "");
  if (!engine) {
    fprintf(stderr, "%s\n", qgrad_engine_error());
    return 1;
  }
  const size_t pixels = (size_t)(qgrad_engine_input_height(engine) * qgrad_engine_input_width(engine) *
                                 qgrad_engine_input_channels(engine));
  const int64_t outputs = qgrad_engine_output_count(engine);
  uint8_t* image = malloc(pixels);
  float* output = malloc((size_t)outputs * sizeof(float));
  int64_t best = 0;
  int done = image && output;
  if (done) memset(image, 128, pixels);
  if (done) done = qgrad_engine_run_bytes(engine, image, 1, output);
  if (done) {
    for (int64_t i = 1; i < outputs; ++i)
      if (output[i] > output[best]) best = i;
    const char* name = qgrad_engine_class_name(engine, best);
    printf("%s %.9g\n", name ? name : "?", output[best]);
  } else {
    fprintf(stderr, "%s\n", qgrad_engine_error());
  }
  free(output);
  free(image);
  qgrad_engine_free(engine);
  return !done;
}
