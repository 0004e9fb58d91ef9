#include "models/microbench/cuda/cases/product_cases.cpp"
