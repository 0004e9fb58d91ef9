// Runs the built `simulate` as a user would: its own process, arguments as given (no shell), a
// temporary folder as working directory, output and exit status caught.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace sim::testing {

// A folder of one test, removed with it.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "moe-app-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = std::filesystem::canonical(pattern).string();
    chmod(path_.c_str(), 0755);  // a child that runs as another user may look inside
  }
  ~TempFolder() {
    std::error_code ignored;
    chmod(path_.c_str(), 0755);
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  bool has(const std::string& name) const { return std::filesystem::exists(file(name)); }
  std::string read(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(file(name), std::ios::binary) << content;
  }

 private:
  std::string path_;
};

struct CommandResult {
  int exit_code = -1;  // -1: ended by a signal
  int signal = 0;
  std::string out;
  std::string err;
};

enum class RunAs { kMe, kNobody };  // kNobody has an effect only when the test runs as root

inline constexpr uid_t kNobodyId = 65534;

// One child process of the command in `folder`.
class Child {
 public:
  Child(const TempFolder& folder, const std::vector<std::string>& arguments,
        RunAs user = RunAs::kMe)
      : out_(folder.file(".stdout")), err_(folder.file(".stderr")) {
    std::vector<std::string> words = {SIMULATE_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int out = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    const int err = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in, 0);
      dup2(out, 1);
      dup2(err, 2);
      bool ready = chdir(folder.path().c_str()) == 0;
      if (user == RunAs::kNobody && geteuid() == 0)
        ready = ready && setgid(kNobodyId) == 0 && setuid(kNobodyId) == 0;
      if (ready) execv(argv[0], argv.data());
      _exit(127);
    }
    close(in);
    close(out);
    close(err);
    if (pid_ < 0) throw std::runtime_error("fork failed");
  }
  ~Child() {
    if (pid_ > 0) {
      kill();
      wait();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void kill() const { ::kill(pid_, SIGKILL); }

  CommandResult wait() {
    int status = 0;
    if (waitpid(pid_, &status, 0) != pid_) throw std::runtime_error("waitpid failed");
    pid_ = -1;
    CommandResult result;
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = take(out_);
    result.err = take(err_);
    return result;
  }

 private:
  static std::string take(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    std::filesystem::remove(path);
    return text;
  }

  std::string out_;
  std::string err_;
  pid_t pid_ = -1;
};

inline CommandResult simulate(const TempFolder& folder, const std::vector<std::string>& arguments,
                              RunAs user = RunAs::kMe) {
  return Child(folder, arguments, user).wait();
}

// `text` with every `from` replaced.
inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The first line where two long texts differ, of both; "" when they are equal.
inline std::string first_difference(const std::string& a, const std::string& b) {
  std::istringstream lines_a(a), lines_b(b);
  std::string line_a, line_b;
  for (int line = 1;; ++line) {
    const bool more_a = static_cast<bool>(std::getline(lines_a, line_a));
    const bool more_b = static_cast<bool>(std::getline(lines_b, line_b));
    if (!more_a && !more_b) return a == b ? "" : "the end of the last line";
    if (more_a != more_b || line_a != line_b) {
      return "line " + std::to_string(line) + ": " + (more_a ? line_a : "(end)") +
             "\nand: " + (more_b ? line_b : "(end)");
    }
  }
}

}  // namespace sim::testing
