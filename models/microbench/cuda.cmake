# The CUDA backend of microbench, where a CUDA toolkit is found; else nothing, and `--backend cuda`
# says that it was built without. The compiler is looked for where users have it, so it need not be
# on the PATH. To leave it out: -DMOE_CUDA=OFF. To choose devices: -DCMAKE_CUDA_ARCHITECTURES=...
option(MOE_CUDA "Build the CUDA backend of microbench where a CUDA toolkit is found" ON)
if(NOT MOE_CUDA)
  message(STATUS "CUDA backend of microbench: left out (MOE_CUDA is OFF)")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  file(GLOB moe_cuda_prefixes LIST_DIRECTORIES true /usr/local/cuda /usr/local/cuda-* /opt/cuda)
  find_program(MOE_NVCC nvcc
               HINTS ${CUDAToolkit_ROOT} ENV CUDAToolkit_ROOT ENV CUDA_PATH ENV CUDA_HOME
               PATHS ${moe_cuda_prefixes} PATH_SUFFIXES bin)
  if(MOE_NVCC)
    set(CMAKE_CUDA_COMPILER ${MOE_NVCC})
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  message(STATUS "CUDA backend of microbench: left out (no nvcc found; set CUDAToolkit_ROOT)")
  return()
endif()

# Ampere, Hopper, and what is newer and known to this compiler. Machine code only: a device that is
# not named here is refused by name, never run on code that the driver made at start.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE moe_cuda_known
                  ERROR_QUIET)
  set(CMAKE_CUDA_ARCHITECTURES 80-real)
  foreach(number IN ITEMS 89 90a 100a 120)
    string(REGEX REPLACE "a$" "" base ${number})
    if("${moe_cuda_known}" MATCHES "compute_${base}[^0-9]")
      list(APPEND CMAKE_CUDA_ARCHITECTURES ${number}-real)
    endif()
  endforeach()
endif()
message(STATUS "CUDA backend of microbench: ${CMAKE_CUDA_COMPILER} for ${CMAKE_CUDA_ARCHITECTURES}")
enable_language(CUDA)
