#include "gda/report/data_sheet.h"

#include <algorithm>
#include <iterator>

namespace gda {
namespace {

// Whole names, as the runtime gives them: variants with less power have names of their own.
struct Sheet {
  std::string_view name;  // after "NVIDIA "
  int multiprocessors;
  // TFLOP/s; 0: not given. Where a sheet gives tensor cores' rates with sparsity alone, half of it.
  double bf16, f32, f64;
};

constexpr Sheet kSheets[] = {
    // NVIDIA A100 Tensor Core GPU Datasheet, 2021; the A800's differs in NVLink alone.
    {"A100-SXM4-40GB", 108, 312, 19.5, 19.5},
    {"A100-SXM4-80GB", 108, 312, 19.5, 19.5},
    {"A100-PCIE-40GB", 108, 312, 19.5, 19.5},
    {"A100 80GB PCIe", 108, 312, 19.5, 19.5},
    {"A800-SXM4-80GB", 108, 312, 19.5, 19.5},
    {"A800 80GB PCIe", 108, 312, 19.5, 19.5},
    // NVIDIA A30, A40 and A10 Tensor Core GPU Datasheets, 2021.
    {"A30", 56, 165, 10.3, 10.3},
    {"A40", 84, 149.7, 37.4, 0},
    {"A10", 72, 125, 31.2, 0},
    // NVIDIA RTX A6000 and RTX A5000 Datasheets, 2020 and 2021: 309.7 and 222.2 with sparsity.
    {"RTX A6000", 84, 154.85, 38.7, 0},
    {"RTX A5000", 64, 111.1, 27.8, 0},
    // NVIDIA Ampere GA102 GPU Architecture, table of the GeForce cards, bf16 with FP32 accumulate.
    {"GeForce RTX 3080", 68, 59.5, 29.8, 0},
    {"GeForce RTX 3090", 82, 71, 35.6, 0},
    // NVIDIA Ada GPU Architecture, appendix A, bf16 with FP32 accumulate.
    {"GeForce RTX 4080", 76, 97.5, 48.7, 0},
    {"GeForce RTX 4090", 128, 165.2, 82.6, 0},
    // NVIDIA L4, L40 and L40S Datasheets, 2023; the L4's 242 is with sparsity.
    {"L4", 58, 121, 30.3, 0},
    {"L40", 142, 181.05, 90.5, 0},
    {"L40S", 142, 362.05, 91.6, 0},
    // NVIDIA RTX 6000 Ada Generation Datasheet, 2022: 1,457 in fp8 with sparsity, a quarter of it.
    {"RTX 6000 Ada Generation", 142, 364.25, 91.1, 0},
    // NVIDIA H100 Tensor Core GPU Architecture, table 2, and the H100 Datasheet: 1,979, 1,513 and
    // 1,671 with sparsity (SXM, PCIe, NVL). The GH200's GPU has the SXM's rates (its Datasheet).
    {"H100 80GB HBM3", 132, 989.4, 66.9, 66.9},
    {"H100 PCIe", 114, 756.5, 51.2, 51.2},
    {"H100 NVL", 132, 835.5, 60, 60},
    {"GH200 120GB", 132, 989.4, 66.9, 66.9},
    {"GH200 480GB", 132, 989.4, 66.9, 66.9},
    {"GH200 144G HBM3e", 132, 989.4, 66.9, 66.9},
    // NVIDIA H800 Tensor Core GPU Datasheet, SXM: fp64 is 1.
    {"H800", 132, 989.4, 66.9, 1},
    // NVIDIA H200 Tensor Core GPU Datasheet, 2024: 1,979 and 1,671 with sparsity (SXM, NVL).
    {"H200", 132, 989.4, 66.9, 66.9},
    {"H200 NVL", 132, 835.5, 60, 60},
    // NVIDIA HGX Platform page, HGX B200, for 8: 36 PFLOP/s with sparsity, 600 and 296 TFLOP/s.
    {"B200", 148, 2250, 75, 37},
    // NVIDIA GB200 NVL72 page, for 72: 360 PFLOP/s with sparsity, 5,760 and 2,880 TFLOP/s.
    {"GB200", 152, 2500, 80, 40},
};

}  // namespace

std::string_view short_name(std::string_view device) {
  constexpr std::string_view kMaker = "NVIDIA ";
  return device.starts_with(kMaker) ? device.substr(kMaker.size()) : device;
}

std::optional<double> data_sheet_flops(const DeviceFacts& facts, DType compute) {
  const std::string_view name = short_name(facts.name);
  const auto* const sheet =
      std::find_if(std::begin(kSheets), std::end(kSheets), [&](const Sheet& known) {
        return known.name == name && known.multiprocessors == facts.multiprocessors;
      });
  if (sheet == std::end(kSheets)) return {};
  double tera = 0;
  if (compute == DType::bf16) tera = sheet->bf16;
  if (compute == DType::f32) tera = sheet->f32;
  if (compute == DType::f64) tera = sheet->f64;
  return tera > 0 ? std::optional(tera * 1e12) : std::nullopt;
}

}  // namespace gda
