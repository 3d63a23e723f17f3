// (data set helpers)
#include "data/dataset.h"
