#include "models/microbench/cuda/cases/matrix_cases.cpp"
