#include "models/microbench/cuda/cases/row_cases.cpp"
