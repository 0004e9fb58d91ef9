# The CUDA backend of microbench, where a CUDA toolkit is found; else nothing, and `--backend cuda`
# says that it was built without. The compiler is looked for where users have it, so it need not be
# on the PATH. To leave it out: -DMOE_CUDA=OFF. To choose devices: -DCMAKE_CUDA_ARCHITECTURES=...
option(MOE_CUDA "Build the CUDA backend of microbench where a CUDA toolkit is found" ON)
if(NOT MOE_CUDA)
  message(STATUS "CUDA backend of microbench: left out (MOE_CUDA is OFF)")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER)
  if(NOT DEFINED ENV{CUDACXX})
    file(GLOB moe_cuda_prefixes LIST_DIRECTORIES true /usr/local/cuda /usr/local/cuda-* /opt/cuda)
    find_program(MOE_NVCC nvcc
                 HINTS ${CUDAToolkit_ROOT} ENV CUDAToolkit_ROOT ENV CUDA_PATH ENV CUDA_HOME
                 PATHS ${moe_cuda_prefixes} PATH_SUFFIXES bin)
    if(MOE_NVCC)
      set(ENV{CUDACXX} ${MOE_NVCC})
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)  # tried apart, so that a compiler that does not work leaves CUDA out
endif()
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "CUDA backend of microbench: left out (no working nvcc found; set CUDAToolkit_ROOT)")
  return()
endif()

# Ampere, Hopper, and what is newer and known to this compiler. Machine code only: a device that is
# not named here is refused by name, never run on code that the driver made at start.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE moe_cuda_known
                  ERROR_QUIET)
  set(CMAKE_CUDA_ARCHITECTURES 80-real)
  foreach(number IN ITEMS 90a 100a 120)
    string(REGEX REPLACE "a$" "" base ${number})
    if("${moe_cuda_known}" MATCHES "compute_${base}[^0-9]")
      list(APPEND CMAKE_CUDA_ARCHITECTURES ${number}-real)
    endif()
  endforeach()
endif()
message(STATUS "CUDA backend of microbench: ${CMAKE_CUDA_COMPILER} for ${CMAKE_CUDA_ARCHITECTURES}")
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc 13 has C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()

if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
find_library(MOE_CUBLAS NAMES cublas PATHS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES} NO_DEFAULT_PATH)
if(NOT MOE_CUBLAS)
  message(STATUS "CUDA backend of microbench: left out (the toolkit of ${CMAKE_CUDA_COMPILER} has no cuBLAS)")
  return()
endif()

# The files with kernels are compiled for every architecture; the others, which only start them, once.
file(GLOB moe_cuda_kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cuda/cases/*_cases.cu)
file(GLOB moe_cuda_host CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cuda/*.cu ${CMAKE_CURRENT_LIST_DIR}/cuda/*.cpp)
set(moe_cuda_timer ${CMAKE_CURRENT_LIST_DIR}/cuda/event_timer.cu)
list(REMOVE_ITEM moe_cuda_host ${moe_cuda_timer})
add_library(microbench_cuda_kernels STATIC ${moe_cuda_kernels} ${moe_cuda_timer})
add_library(microbench_cuda STATIC ${moe_cuda_host})
list(GET CMAKE_CUDA_ARCHITECTURES 0 moe_cuda_first)
set_target_properties(microbench_cuda PROPERTIES CUDA_ARCHITECTURES ${moe_cuda_first})
set_target_properties(microbench_cuda microbench_cuda_kernels PROPERTIES
                      CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF)
# The runtime is linked statically and the vendor's libraries are loaded when asked for, so the
# program starts where none of them is; this is where they lay when it was built.
get_filename_component(moe_cuda_library_folder ${MOE_CUBLAS} DIRECTORY)
string(REPLACE ";" ", " moe_cuda_architectures "${CMAKE_CUDA_ARCHITECTURES}")
target_compile_definitions(microbench_cuda PRIVATE
  MOE_CUDA_LIBRARIES="${moe_cuda_library_folder}" MOE_CUDA_ARCHITECTURES="${moe_cuda_architectures}")
target_link_libraries(microbench_cuda_kernels PUBLIC microbench_cpu)
target_link_libraries(microbench_cuda PUBLIC microbench_cuda_kernels PRIVATE ${CMAKE_DL_LIBS})
target_compile_definitions(microbench PRIVATE MOE_HAVE_CUDA)
target_link_libraries(microbench PRIVATE microbench_cuda)
