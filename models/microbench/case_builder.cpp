#include "models/microbench/case_builder.h"

#include <set>
#include <utility>

namespace sim::microbench {

CaseBuilder::CaseBuilder(std::vector<std::string> matrix, std::vector<std::string> plain)
    : matrix_(std::move(matrix)), plain_(std::move(plain)) {}

std::vector<KernelCase> CaseBuilder::take() {
  std::set<std::string> seen;
  std::vector<KernelCase> once;
  for (KernelCase& one : cases_) {
    std::string text = id_text(one);
    for (const std::int64_t count : one.rows) text += " " + std::to_string(count);
    if (seen.insert(std::move(text)).second) once.push_back(std::move(one));
  }
  cases_.clear();
  return once;
}

void CaseBuilder::dtypes(std::vector<std::string> matrix, std::string plain) {
  matrix_dtypes_ = std::move(matrix);
  plain_dtype_ = std::move(plain);
}

void CaseBuilder::add_matrix(KernelCase one, const Passes& passes) {
  for (const std::string& implementation : matrix_) {
    for (const std::string& dtype : matrix_dtypes_) {
      for (const std::string& pass : passes) {
        one.implementation = implementation;
        one.dtype = dtype;
        one.pass = pass;
        cases_.push_back(one);
      }
    }
  }
}

void CaseBuilder::matrix(const std::string& kernel, const Sizes& sizes, const Passes& passes) {
  KernelCase one;
  one.kernel = kernel;
  one.sizes = sizes;
  add_matrix(std::move(one), passes);
}

void CaseBuilder::plain(const std::string& kernel, const Sizes& sizes, const Passes& passes,
                        const Options& options, const Counts& rows) {
  for (const std::string& implementation : plain_) {
    for (const std::string& pass : passes) {
      KernelCase one;
      one.kernel = kernel;
      one.implementation = implementation;
      one.dtype = plain_dtype_;
      one.pass = pass;
      one.sizes = sizes;
      one.options = options;
      one.rows = rows;
      cases_.push_back(std::move(one));
    }
  }
}

void CaseBuilder::memory_ceiling(const Counts& bytes) {
  for (const std::int64_t count : bytes) {
    for (const char* what : {"read", "write", "copy", "triad"}) {
      plain("ceiling_memory", {{"bytes", count}}, {"forward"}, {{"what", what}});
    }
  }
}

void CaseBuilder::matrix_ceiling(const Counts& sizes) {
  for (const std::int64_t size : sizes) {
    matrix("ceiling_matrix", {{"m", size}, {"n", size}, {"k", size}}, {"forward"});
  }
}

void CaseBuilder::gemm(const Counts& tokens, std::int64_t n, std::int64_t k, const Passes& passes) {
  for (const std::int64_t m : tokens) matrix("gemm", {{"m", m}, {"n", n}, {"k", k}}, passes);
}

void CaseBuilder::row_kernels(const LayerShape& s, const Counts& tokens, const Passes& passes) {
  for (const std::int64_t t : tokens) {
    for (const char* gate : {"softmax", "sigmoid"}) {
      plain("top_k", {{"tokens", t}, {"experts", s.experts}, {"top_k", s.top_k}}, passes,
            {{"gate", gate}});
    }
    const Sizes sizes = {
        {"tokens", t}, {"hidden", s.hidden}, {"top_k", s.top_k}, {"experts", s.experts}};
    const Counts rows = rows_per_expert(Skew::kZipf, t, s.top_k, s.experts);
    plain("permute", sizes, passes, {{"quantise", "none"}}, rows);
    plain("permute", sizes, {"forward"}, {{"quantise", "fp8"}}, rows);
    plain("unpermute", sizes, passes, {}, rows);
    plain("norm", {{"rows", t}, {"hidden", s.hidden}}, passes);
    plain("quantise", {{"rows", t}, {"hidden", s.hidden}}, {"forward"});
    plain("activation", {{"rows", t * s.top_k}, {"inter", s.inter}}, passes);
  }
}

void CaseBuilder::grouped(const LayerShape& s, const Counts& tokens, std::span<const Skew> skews,
                          const Passes& passes) {
  KernelCase one;
  one.kernel = "grouped_gemm";
  for (const std::int64_t t : tokens) {
    for (const Skew skew : skews) {
      one.rows = rows_per_expert(skew, t, s.top_k, s.experts);
      one.sizes = {{"n", 2 * s.inter}, {"k", s.hidden}};
      add_matrix(one, passes);
      one.sizes = {{"n", s.hidden}, {"k", s.inter}};
      add_matrix(one, passes);
    }
  }
}

void CaseBuilder::grouped_padded(const LayerShape& s, const Counts& tokens, Skew skew,
                                 std::int64_t tile) {
  KernelCase one;
  one.kernel = "grouped_gemm";
  one.options = {{"layout", "padded"}};
  for (const std::int64_t t : tokens) {
    one.rows = rows_per_expert(skew, t, s.top_k, s.experts);
    one.sizes = {{"n", 2 * s.inter}, {"k", s.hidden}, {"tile", tile}};
    add_matrix(one, {"forward"});
  }
}

void CaseBuilder::ffn(const LayerShape& s, const Counts& tokens, std::span<const Skew> skews,
                      const Passes& passes) {
  KernelCase one;
  one.kernel = "expert_ffn";
  for (const std::int64_t t : tokens) {
    for (const Skew skew : skews) {
      one.rows = rows_per_expert(skew, t, s.top_k, s.experts);
      one.sizes = {{"hidden", s.hidden},
                   {"inter", s.inter},
                   {"top_k", s.top_k},
                   {"experts", s.experts},
                   {"tokens", t}};
      add_matrix(one, passes);
    }
  }
}

void CaseBuilder::layer(const LayerShape& s, const Counts& tokens, std::span<const Skew> skews) {
  KernelCase one;
  one.kernel = "moe_layer";
  for (const std::int64_t t : tokens) {
    for (const Skew skew : skews) {
      one.rows = rows_per_expert(skew, t, s.top_k, s.experts);
      one.sizes = {{"tokens", t},
                   {"hidden", s.hidden},
                   {"inter", s.inter},
                   {"experts", s.experts},
                   {"top_k", s.top_k}};
      add_matrix(one, {"forward"});
    }
  }
}

}  // namespace sim::microbench
