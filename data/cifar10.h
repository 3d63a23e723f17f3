// "cifar10": the 60,000 images of CIFAR-10 in its binary version (A. Krizhevsky, "Learning Multiple Layers of Features
// from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html). Config: {"class": "cifar10", "dir": null}
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace qgrad {

// One batch file: 10,000 records of a label byte and 32x32 pixels in planes R, G, B. Appended to `set` as [32,32,3].
// Throws, naming the file, on a wrong length (30,730,000 bytes) and on labels outside 0..9.
void read_cifar10_batch(const std::filesystem::path& file, ImageSet& set);

// The folder of the batch files: `dir` if given, else the environment's QGRAD_DATA if set, else
// ./data/cifar-10-batches-bin, else ../shared/cifar-10-batches-bin. Each may be the folder itself or hold a
// cifar-10-batches-bin. Throws where there is none, saying where it looked and how to get the files.
std::filesystem::path find_cifar10(const std::optional<std::string>& dir);

}  // namespace qgrad
