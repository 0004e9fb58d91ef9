// One file for the small kernels: a pass of the compiler per architecture and file is what costs.
#include "models/microbench/cuda/cases/fill_cases.cpp"
#include "models/microbench/cuda/cases/memory_cases.cpp"
#include "models/microbench/cuda/cases/routing_cases.cpp"
#include "models/microbench/cuda/cases/row_cases.cpp"
