// Catch2 2.x and 3.x under one include.
#pragma once

#ifdef QGRAD_CATCH2_V2
#include <catch2/catch.hpp>
#else
#include <catch2/catch_all.hpp>
using Catch::Approx;
#endif
