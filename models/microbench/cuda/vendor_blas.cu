#include "models/microbench/cuda/vendor_blas.h"

#include <algorithm>

#include "models/microbench/cuda/cublas_library.cuh"

namespace sim::device_code {
namespace {

constexpr float kOne = 1.0F;
constexpr float kZero = 0.0F;

// Our arrays lie row by row, the library's column by column, so it computes the transpose of the
// output: m is the length of an output row, n the number of rows.
struct Product {
  cublasOperation_t turn_a;
  cublasOperation_t turn_b;
  int m;
  int n;
  int k;
  const void* a;
  int lda;
  const void* b;
  int ldb;
  void* c;
  int ldc;
};

Product product_of(const GroupedProblem& problem, std::size_t expert) {
  const std::size_t bytes = problem.fp8 ? 1 : 2;
  const std::int64_t first = problem.host_offsets[expert];
  const int rows = static_cast<int>(problem.host_offsets[expert + 1] - first);
  const int n = static_cast<int>(problem.n);
  const int k = static_cast<int>(problem.k);
  const auto* a = static_cast<const unsigned char*>(problem.a);
  const auto* b = static_cast<const unsigned char*>(problem.b);
  const std::int64_t weights = static_cast<std::int64_t>(expert) * problem.n * problem.k;
  switch (problem.pass) {
    case GemmPass::kForward:
      return {CUBLAS_OP_T,
              CUBLAS_OP_N,
              n,
              rows,
              k,
              b + weights * bytes,
              k,
              a + first * problem.k * bytes,
              k,
              problem.out + first * problem.n,
              n};
    case GemmPass::kDgrad:
      return {CUBLAS_OP_N,
              CUBLAS_OP_N,
              k,
              rows,
              n,
              b + weights * bytes,
              k,
              a + first * problem.n * bytes,
              n,
              problem.out + first * problem.k,
              k};
    case GemmPass::kWgrad:
      break;
  }
  return {CUBLAS_OP_N,
          CUBLAS_OP_T,
          k,
          n,
          rows,
          b + first * problem.k * bytes,
          k,
          a + first * problem.n * bytes,
          n,
          problem.out + weights,
          k};
}

// All experts with rows in one call, each a group of one product.
class GroupedProduct : public VendorProduct {
 public:
  GroupedProduct(CublasLibrary& library, Device& device, const std::vector<Product>& products) {
    std::vector<const void*> a;
    std::vector<const void*> b;
    std::vector<void*> c;
    for (const Product& product : products) {
      turn_a_.push_back(product.turn_a);
      turn_b_.push_back(product.turn_b);
      m_.push_back(product.m);
      n_.push_back(product.n);
      k_.push_back(product.k);
      lda_.push_back(product.lda);
      ldb_.push_back(product.ldb);
      ldc_.push_back(product.ldc);
      a.push_back(product.a);
      b.push_back(product.b);
      c.push_back(product.c);
    }
    const auto count = static_cast<std::int64_t>(products.size());
    a_ = Array<const void*>(device, count);
    b_ = Array<const void*>(device, count);
    c_ = Array<void*>(device, count);
    a_.upload(a);
    b_.upload(b);
    c_.upload(c);
    ones_.assign(products.size(), 1.0F);
    zeros_.assign(products.size(), 0.0F);
    sizes_.assign(products.size(), 1);
    enqueue_ = [this, &library, &device] {
      library.use(device);
      check_blas(library.cublasGemmGroupedBatchedEx(
                     library.handle, turn_a_.data(), turn_b_.data(), m_.data(), n_.data(),
                     k_.data(), ones_.data(), a_.data(), CUDA_R_16BF, lda_.data(), b_.data(),
                     CUDA_R_16BF, ldb_.data(), zeros_.data(), c_.data(), CUDA_R_16BF, ldc_.data(),
                     static_cast<int>(sizes_.size()), sizes_.data(), CUBLAS_COMPUTE_32F),
                 "a grouped GEMM");
    };
  }
  void enqueue() override { enqueue_(); }

 private:
  std::function<void()> enqueue_;
  std::vector<cublasOperation_t> turn_a_, turn_b_;
  std::vector<int> m_, n_, k_, lda_, ldb_, ldc_, sizes_;
  std::vector<float> ones_, zeros_;
  Array<const void*> a_, b_;
  Array<void*> c_;
};

// One cuBLASLt call per expert with rows, its algorithm chosen by the library's heuristic once.
// Without scales given, those of fp8 are 1 per tensor.
class SingleProducts : public VendorProduct {
 public:
  SingleProducts(CublasLibrary& library, Device& device, const std::vector<Product>& products,
                 bool fp8)
      : library_(library), device_(device), type_(fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF) {
    for (const Product& product : products) calls_.push_back(prepare(product));
  }
  ~SingleProducts() override {
    for (const Call& call : calls_) {
      library_.cublasLtMatmulDescDestroy(call.operation);
      for (cublasLtMatrixLayout_t layout : {call.a, call.b, call.c})
        library_.cublasLtMatrixLayoutDestroy(layout);
    }
  }
  void enqueue() override {
    for (const Call& call : calls_)
      check_blas(
          library_.cublasLtMatmul(library_.lt_handle, call.operation, &kOne, call.product.a, call.a,
                                  call.product.b, call.b, &kZero, call.product.c, call.c,
                                  call.product.c, call.c, &call.algorithm, library_.workspace,
                                  CublasLibrary::kWorkspaceBytes, device_.stream),
          "a GEMM");
  }

 private:
  struct Call {
    Product product;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
  };

  Call prepare(const Product& product) const {
    Call call{product, nullptr, nullptr, nullptr, nullptr, {}};
    check_blas(library_.cublasLtMatmulDescCreate(&call.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "describing a GEMM");
    check_blas(library_.cublasLtMatmulDescSetAttribute(call.operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                                       &product.turn_a, sizeof product.turn_a),
               "describing a GEMM");
    check_blas(library_.cublasLtMatmulDescSetAttribute(call.operation, CUBLASLT_MATMUL_DESC_TRANSB,
                                                       &product.turn_b, sizeof product.turn_b),
               "describing a GEMM");
    const auto layout = [&](cublasLtMatrixLayout_t& target, cudaDataType_t type, int rows,
                            int columns, int stride) {
      check_blas(library_.cublasLtMatrixLayoutCreate(&target, type, rows, columns, stride),
                 "describing a matrix");
    };
    // A matrix is described as it lies, before it is turned.
    const bool turn_a = product.turn_a == CUBLAS_OP_T;
    const bool turn_b = product.turn_b == CUBLAS_OP_T;
    layout(call.a, type_, turn_a ? product.k : product.m, turn_a ? product.m : product.k,
           product.lda);
    layout(call.b, type_, turn_b ? product.n : product.k, turn_b ? product.k : product.n,
           product.ldb);
    layout(call.c, CUDA_R_16BF, product.m, product.n, product.ldc);
    cublasLtMatmulPreference_t preference = nullptr;
    check_blas(library_.cublasLtMatmulPreferenceCreate(&preference), "preferring an algorithm");
    const std::size_t workspace = CublasLibrary::kWorkspaceBytes;
    library_.cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t status =
        library_.cublasLtMatmulAlgoGetHeuristic(library_.lt_handle, call.operation, call.a, call.b,
                                                call.c, call.c, preference, 1, &found, &count);
    library_.cublasLtMatmulPreferenceDestroy(preference);
    check_blas(status, "looking for an algorithm of a GEMM");
    if (count == 0) throw Error("cuBLAS: it has no GEMM of this shape");
    call.algorithm = found.algo;
    return call;
  }

  CublasLibrary& library_;
  Device& device_;
  cudaDataType_t type_;
  std::vector<Call> calls_;
};

// Zeros for the experts that no product writes (wgrad without rows), then the products.
class WithZeros : public VendorProduct {
 public:
  WithZeros(Device& device, const GroupedProblem& problem, std::unique_ptr<VendorProduct> products)
      : device_(device), products_(std::move(products)) {
    bytes_ = static_cast<std::size_t>(problem.n * problem.k) * sizeof(Bf16);
    for (std::size_t e = 0; e + 1 < problem.host_offsets.size(); ++e)
      if (problem.host_offsets[e] == problem.host_offsets[e + 1])
        empty_.push_back(problem.out + static_cast<std::int64_t>(e) * problem.n * problem.k);
  }
  void enqueue() override {
    for (Bf16* expert : empty_) fill_bytes(device_, expert, 0, bytes_);
    products_->enqueue();
  }

 private:
  Device& device_;
  std::size_t bytes_ = 0;
  std::vector<Bf16*> empty_;
  std::unique_ptr<VendorProduct> products_;
};

}  // namespace

struct VendorBlas::Library : CublasLibrary {};

VendorBlas::VendorBlas() : library_(std::make_unique<Library>()) {}
VendorBlas::~VendorBlas() = default;

const std::string& VendorBlas::problem() const { return library_->problem; }

std::string VendorBlas::description() const {
  if (!problem().empty()) return "";
  int version = 0;
  library_->cublasGetVersion_v2(library_->handle, &version);
  return "cuBLAS " + std::to_string(version) +
         " (bf16 experts: one grouped call; fp8: one scale per tensor, one call per expert)";
}

std::unique_ptr<VendorProduct> VendorBlas::prepare(const GroupedProblem& problem, Device& device) {
  std::vector<Product> products;
  for (std::size_t e = 0; e + 1 < problem.host_offsets.size(); ++e)
    if (problem.host_offsets[e + 1] > problem.host_offsets[e])
      products.push_back(product_of(problem, e));
  std::unique_ptr<VendorProduct> prepared;
  if (problem.fp8 || problem.experts() == 1)
    prepared = std::make_unique<SingleProducts>(*library_, device, products, problem.fp8);
  else
    prepared = std::make_unique<GroupedProduct>(*library_, device, products);
  if (problem.pass == GemmPass::kWgrad)
    prepared = std::make_unique<WithZeros>(device, problem, std::move(prepared));
  return prepared;
}

}  // namespace sim::device_code
