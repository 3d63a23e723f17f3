/* Classifies a picture: classify NET.qgi PICTURE. The picture is a binary PPM file (P6), or a PGM file (P5) where the
 * network takes grey, of the size that the network takes. */
#include <stdio.h>
#include <stdlib.h>

#include <qgrad/engine/qgrad_engine.h>

/* The pixels of a picture of this size, or NULL. */
static uint8_t* read_picture(const char* path, int64_t height, int64_t width, int64_t channels) {
  const size_t size = (size_t)(height * width * channels);
  long long w = 0, h = 0;
  char kind = 0;
  FILE* file = fopen(path, "rb");
  uint8_t* pixels = malloc(size);
  int done = file && pixels && fscanf(file, "P%c %lld %lld 255", &kind, &w, &h) == 3 && fgetc(file) != EOF;
  done = done && kind == (channels == 3 ? '6' : '5') && w == width && h == height;
  done = done && fread(pixels, 1, size, file) == size;
  if (file) fclose(file);
  if (done) return pixels;
  fprintf(stderr, "%s: expected a binary %s file of %lldx%lld pixels\n", path, channels == 3 ? "PPM" : "PGM",
          (long long)width, (long long)height);
  free(pixels);
  return NULL;
}

/* Prints the likeliest class and its score. Returns 0 where the program can not be run. */
static int classify(const qgrad_engine* engine, const uint8_t* pixels) {
  const int64_t outputs = qgrad_engine_output_count(engine);
  float* scores = malloc((size_t)outputs * sizeof(float));
  const int done = scores && qgrad_engine_run_bytes(engine, pixels, 1, scores);
  if (done) {
    int64_t best = 0;
    for (int64_t i = 1; i < outputs; ++i)
      if (scores[i] > scores[best]) best = i;
    const char* name = qgrad_engine_class_name(engine, best);
    printf("%s %.9g\n", name ? name : "?", scores[best]);
  } else {
    fprintf(stderr, "%s\n", qgrad_engine_error());
  }
  free(scores);
  return done;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s NET.qgi PICTURE\n", argv[0]);
    return 2;
  }
  qgrad_engine* engine = qgrad_engine_open(argv[1]);
  if (!engine) {
    fprintf(stderr, "%s\n", qgrad_engine_error());
    return 1;
  }
  uint8_t* pixels = read_picture(argv[2], qgrad_engine_input_height(engine), qgrad_engine_input_width(engine),
                                 qgrad_engine_input_channels(engine));
  const int done = pixels && classify(engine, pixels);
  free(pixels);
  qgrad_engine_free(engine);
  return !done;
}
