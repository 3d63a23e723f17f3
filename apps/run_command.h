// The qgrad command as a function, for programs that add classes of their own to it.
#pragma once

namespace qgrad {

// Runs the command line; the exit status is 0 done, 1 failed with a one-line reason on stderr, 2 wrong usage, 130 and
// 143 stopped by SIGINT and SIGTERM with all that is needed to go on. Classes that the program registers
// (core/registry.h) can be named in its configs as qgrad's own can.
int run_command(int argc, char** argv);

}  // namespace qgrad
