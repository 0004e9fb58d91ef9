#include "models/microbench/cuda/cases/own_cases.cpp"
