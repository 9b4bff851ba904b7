#include "gda/report/data_sheet.h"

#include <gtest/gtest.h>

#include <string>

namespace gda {
namespace {

double tera(const std::string& name, int multiprocessors, DType compute) {
  DeviceFacts facts;
  facts.name = name;
  facts.multiprocessors = multiprocessors;
  return data_sheet_flops(facts, compute).value_or(0) / 1e12;
}

TEST(DataSheet, KnowsADeviceByNameAndSize) {
  EXPECT_EQ(tera("NVIDIA H200", 132, DType::bf16), 989.4);
  EXPECT_EQ(tera("NVIDIA H200", 132, DType::f32), 66.9);
  EXPECT_EQ(tera("NVIDIA H200", 132, DType::f64), 66.9);
  EXPECT_EQ(tera("NVIDIA A100-SXM4-80GB", 108, DType::bf16), 312);
  EXPECT_EQ(tera("A100-SXM4-40GB", 108, DType::f64), 19.5);  // as older drivers name it
  EXPECT_EQ(tera("NVIDIA B200", 148, DType::bf16), 2250);
  EXPECT_EQ(tera("NVIDIA GB200", 152, DType::bf16), 2500);
  EXPECT_EQ(tera("NVIDIA L40S", 142, DType::bf16), 362.05);
  EXPECT_EQ(tera("NVIDIA GeForce RTX 4090", 128, DType::f32), 82.6);
}

TEST(DataSheet, TellsVariantsApart) {
  EXPECT_EQ(tera("NVIDIA H100 80GB HBM3", 132, DType::bf16), 989.4);
  EXPECT_EQ(tera("NVIDIA H100 PCIe", 114, DType::bf16), 756.5);
  EXPECT_EQ(tera("NVIDIA H100 NVL", 132, DType::bf16), 835.5);
  EXPECT_EQ(tera("NVIDIA H200 NVL", 132, DType::bf16), 835.5);
  EXPECT_EQ(tera("NVIDIA L40", 142, DType::bf16), 181.05);
  EXPECT_EQ(tera("NVIDIA H800", 132, DType::f64), 1);
}

TEST(DataSheet, IsSilentOnWhatItDoesNotKnow) {
  for (const char* name :
       {"emulated", "", "NVIDIA", "NVIDIA H100", "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 D", "GRID A100-10C",
        "NVIDIA H200x", "nvidia h200", "NVIDIA A100X"}) {
    for (const int multiprocessors : {16, 108, 128, 132}) {
      EXPECT_EQ(tera(name, multiprocessors, DType::bf16), 0) << name;
    }
  }
  EXPECT_EQ(tera("NVIDIA H200", 16, DType::bf16), 0);  // a part of one
  EXPECT_EQ(tera("NVIDIA L4", 58, DType::f64), 0);     // not in its sheet
  EXPECT_EQ(tera("NVIDIA H200", 132, DType::i32), 0);
}

TEST(DataSheet, ShortNames) {
  EXPECT_EQ(short_name("NVIDIA H200"), "H200");
  EXPECT_EQ(short_name("Tesla T4"), "Tesla T4");
}

}  // namespace
}  // namespace gda
