#include "models/microbench/cuda/cases/routing_cases.cpp"
