// microbench: measures the kernels of Mixture-of-Experts models on this machine. Exit codes as of
// simulate: 0 done, 1 the user's input or a kernel whose results are wrong, 2 our bug.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <exception>
#include <iostream>
#include <new>
#include <optional>

#include "models/microbench/case_list.h"
#include "models/microbench/cpu/blas_core.h"
#include "models/microbench/measure.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/input/whole_file.h"

namespace {

using sim::KernelCase;
using namespace sim::microbench;

struct Arguments {
  std::string backend;
  std::vector<std::string> only;
  std::string out;
  bool quick = false;
  bool check = false;
  int threads = 0;  // 0: not given
};

std::unique_ptr<Backend> make_backend(const Arguments& arguments) {
  if (arguments.backend == "cpu")
    return make_cpu_backend(arguments.threads == 0 ? 1 : arguments.threads);
#ifdef MOE_HAVE_CUDA
  return make_cuda_backend();
#else
  throw sim::Error(
      "this microbench was built without CUDA: CMake found no CUDA toolkit, or was told "
      "MOE_CUDA=OFF",
      "install one, configure again and build; or use --backend cpu");
#endif
}

std::vector<KernelCase> chosen_cases(const Arguments& arguments) {
  std::vector<std::string> names;
  for (const sim::KernelForm& form : sim::kernel_forms()) names.push_back(form.name);
  for (const std::string& name : arguments.only) {
    if (sim::find_kernel_form(name) == nullptr) {
      throw sim::Error("--only: '" + name + "' is not a kernel", sim::suggest(name, names));
    }
  }
  std::vector<KernelCase> cases =
      arguments.backend == "cpu" ? cpu_cases(arguments.quick) : gpu_cases(arguments.quick);
  if (arguments.only.empty()) return cases;
  std::erase_if(cases, [&](const KernelCase& one) {
    return std::find(arguments.only.begin(), arguments.only.end(), one.kernel) ==
           arguments.only.end();
  });
  return cases;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

void check_words(const Arguments& arguments) {
  if (arguments.out.empty() && !arguments.check) {
    throw sim::Error("--out FILE is missing", "or --check, which writes none");
  }
  if (!arguments.out.empty() && arguments.check) {
    throw sim::Error("--check times nothing, so there is no file to write", "leave out --out");
  }
  if (arguments.threads != 0 && arguments.backend != "cpu") {
    throw sim::Error("--threads is of the CPU's BLAS", "leave it out, or use --backend cpu");
  }
}

int run(const Arguments& arguments) {
  check_words(arguments);
  const std::vector<KernelCase> cases = chosen_cases(arguments);
  // Made before anything is measured: a place that cannot be written is known at once.
  std::optional<sim::WholeFile> out;
  if (!arguments.check) out.emplace(arguments.out);
  const std::unique_ptr<Backend> backend = make_backend(arguments);
  const auto progress = [&](std::size_t done) {
    if (done != cases.size() && done % 10 != 0) return;
    std::cerr << fmt::format("microbench: {} of {} cases\n", done, cases.size());
  };
  Measured measured = measure(*backend, cases, backend->timing(arguments.quick),
                              arguments.check ? Task::kCheckOnly : Task::kCheckAndTime, progress);
  for (const FailedCheck& failed : measured.failed) {
    std::cerr << "microbench: wrong result: " << to_text(failed) << '\n';
  }
  std::cout << fmt::format("{} cases checked, {} wrong", measured.checked, measured.failed.size());
  if (!arguments.check && measured.file.rows.empty()) {
    std::cout << '\n';
    throw sim::Error("nothing was measured, so no file is written");
  }
  if (!arguments.check) {
    measured.file.date = today();
    out->write(to_yaml(measured.file));
    std::cout << fmt::format(", {} timed: {}", measured.file.rows.size(), arguments.out);
  }
  std::cout << '\n';
  return measured.failed.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  start_again_with_fitting_blas(argv);
  CLI::App app{
      "microbench: times the kernels of Mixture-of-Experts models, forward and backward, checks\n"
      "every result, and writes what `simulate calibrate` reads\n"
      "  microbench --backend cpu --quick --out cpu.yaml",
      "microbench"};
  Arguments arguments;
  app.add_option("--backend", arguments.backend, "cpu, or cuda where it was built")
      ->required()
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--only", arguments.only, "only this kernel (repeatable)");
  app.add_option("--out", arguments.out, "the file to write");
  app.add_flag("--quick", arguments.quick, "fewer cases and repeats");
  app.add_flag("--check", arguments.check, "compare results only, time nothing, write nothing");
  app.add_option("--threads", arguments.threads, "of the CPU's BLAS (1)")
      ->check(CLI::PositiveNumber);
  try {
    app.parse(argc, argv);
    return run(arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "microbench: " << error.what() << '\n';
    return 1;
  } catch (const sim::Error& error) {
    std::cerr << "microbench: " << error.what() << '\n';
    return 1;
  } catch (const std::bad_alloc&) {
    std::cerr << "microbench: out of memory\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "microbench: a mistake of ours, please report it: " << error.what() << '\n';
    return 2;
  }
}
