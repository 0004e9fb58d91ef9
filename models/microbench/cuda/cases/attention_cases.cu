#include "models/microbench/cuda/cases/attention_cases.cpp"
