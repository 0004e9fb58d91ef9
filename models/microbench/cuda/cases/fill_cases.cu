#include "models/microbench/cuda/cases/fill_cases.cpp"
