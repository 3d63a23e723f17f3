// "image_folder": PNG and JPEG files in train/<class>/ and test/<class>/.
// Config: {"class": "image_folder", "dir": "flowers", "size": [64, 64], "channels": 3}
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace qgrad {

// Every .png, .jpg and .jpeg (in any case) of folder/<class>/, resized to `image` [H,W,C]: the first of every class by
// their names, then every second one, and so on, so that the first N of the set are of all classes. Classes as given.
// Names that begin with a dot are passed over; other files, folders within those of the classes and classes without a
// folder are in the set's remarks. Throws, naming the file or folder, where an image can not be read, a folder is not
// one of the classes, or there are no images.
ImageSet read_image_folder(const std::filesystem::path& folder, const std::vector<std::string>& class_names,
                           const Shape& image);

}  // namespace qgrad
