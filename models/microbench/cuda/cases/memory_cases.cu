#include "models/microbench/cuda/cases/memory_cases.cpp"
