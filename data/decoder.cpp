// The one place where stb_image is compiled: PNG and JPEG only. Damaged files make it read memory that it never wrote,
// which is therefore zero here (on the stack a pattern, see CMakeLists.txt), and make sums overflow, which wrap.
#include "data/decoder.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace qgrad {
namespace {

thread_local size_t bytes_left = 0;  // that may still be asked for; what is freed does not count

void* zeros(size_t size) {
  if (size > bytes_left) return nullptr;
  bytes_left -= size;
  return std::calloc(size, 1);
}

void* enlarged(void* old, size_t old_size, size_t size) {
  void* block = zeros(size);
  if (block && old) std::memcpy(block, old, old_size);
  if (block) std::free(old);
  return block;
}

}  // namespace
}  // namespace qgrad

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_ASSERT(condition) static_cast<void>(0)
#define STBI_MALLOC(size) qgrad::zeros(size)
#define STBI_REALLOC_SIZED(block, old_size, size) qgrad::enlarged(block, old_size, size)
#define STBI_FREE(block) std::free(block)
#include <stb/stb_image.h>

namespace qgrad {

Image decode_image(std::string_view bytes, size_t most_bytes) {
  bytes_left = most_bytes;
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()), &width,
                            &height, &channels, /*channels wanted: as they are*/ 0),
      stbi_image_free);
  const std::string_view reason = pixels ? "" : stbi_failure_reason();
  check(reason != "outofmem", "takes more than {} bytes to decode", most_bytes);
  check(pixels != nullptr, "damaged image ({})", reason);
  const Shape shape{height, width, channels};
  return {shape, {pixels.get(), pixels.get() + shape.numel()}};
}

}  // namespace qgrad
