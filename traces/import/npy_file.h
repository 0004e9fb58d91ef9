// A NumPy array in a .npy file (formats 1.0 to 3.0), gzipped or not, read as a stream.
//
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

class NpyFile {
 public:
  // Reads the header. Throws Error: no .npy file, a header that is not exactly NumPy's, big endian,
  // another type than whole numbers or floats, more than 8 dimensions, or above 2^40 numbers.
  explicit NpyFile(std::string path);
  ~NpyFile();
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;

  const std::vector<std::int64_t>& shape() const { return shape_; }
  bool fortran_order() const { return fortran_order_; }  // the first index runs fastest
  bool is_float() const { return kind_ == 'f'; }
  const std::string& type() const { return type_; }  // "<i8"

  // The next `count` numbers in the order of the file. Whole numbers above 2^53 lose their last
  // bits. Throws Error when the file ends before.
  void read(std::size_t count, std::vector<double>& to);
  // Throws Error when something follows the last number.
  void expect_end();

 private:
  struct Zipped;
  [[noreturn]] void fail(const std::string& message, const std::string& hint = {}) const;
  void read_bytes(char* to, std::size_t bytes, const char* what);
  void parse_header(std::string_view header);

  std::string path_;
  std::unique_ptr<Zipped> file_;
  std::string type_;
  char kind_ = 'i';  // i, u or f
  int width_ = 8;    // bytes of a number
  bool fortran_order_ = false;
  std::vector<std::int64_t> shape_;
  std::string bytes_;
};

// Whether a file begins as .npy files do.
bool is_npy(std::string_view head);

}  // namespace sim
