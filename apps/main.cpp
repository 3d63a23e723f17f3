// The qgrad command.
#include "apps/run_command.h"

int main(int argc, char** argv) { return qgrad::run_command(argc, argv); }
