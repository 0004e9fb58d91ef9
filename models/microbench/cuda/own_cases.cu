// Host code only: it starts the steps of the other files.
#include "models/microbench/cuda/cases/layer_steps.cpp"
#include "models/microbench/cuda/cases/own_cases.cpp"
