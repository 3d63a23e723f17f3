// Files as a whole: read to the end, and written so that a crash, a full disk or a power failure leaves the old
// content.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace qgrad {

// All of a file. `expected`: what it should be, "a JSON file", for the message where it is a folder.
std::string read_file(const std::filesystem::path& file, std::string_view expected);

// Written to a temporary name beside the file, flushed to disk, then renamed over it, and the folder flushed: a reader
// sees the old content or the new, never a part, and the new one is there to stay. Missing folders are made. All that
// qgrad writes is written here. Throws Error with the file's name.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes);

// With those above it; on disk when this returns. Whether it was missing.
bool make_folder(const std::filesystem::path& folder);

}  // namespace qgrad
