#include "models/microbench/cuda/shared_library.h"

#include <dlfcn.h>

namespace sim::device_code {

SharedLibrary::SharedLibrary(const std::vector<std::string>& names, const std::string& folder) {
  for (const std::string& prefix : {std::string(), folder.empty() ? folder : folder + "/"}) {
    for (const std::string& name : names) {
      handle_ = dlopen((prefix + name).c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_ != nullptr) return;
      if (problem_.empty()) problem_ = dlerror();
    }
  }
}

SharedLibrary::~SharedLibrary() {
  if (handle_ != nullptr) dlclose(handle_);
}

void* SharedLibrary::symbol(const char* name) const {
  return handle_ == nullptr ? nullptr : dlsym(handle_, name);
}

}  // namespace sim::device_code
