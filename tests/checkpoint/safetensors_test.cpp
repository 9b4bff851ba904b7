#include "gda/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "gda/core/checksum.h"
#include "gda/core/file.h"
#include "gda/core/memory.h"
#include "scratch.h"

namespace gda::test {
namespace {

// A file with this header text and so many bytes of data.
std::filesystem::path file_of(const Scratch& scratch, const std::string& header,
                              std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string content(reinterpret_cast<const char*>(&length), sizeof(length));
  content += header + std::string(data_bytes, '\1');
  const auto path = scratch / "a.safetensors";
  write_text_file_atomically(path, content);
  return path;
}

std::string fault_of(const std::string& header, std::size_t data_bytes) {
  const Scratch scratch;
  const auto path = file_of(scratch, header, data_bytes);
  std::string message = message_of<FormatError>([&] { SafetensorsFile file(path); });
  const std::size_t place = message.find(path.string());
  EXPECT_EQ(place, 0U) << message;
  return place == 0 ? message.substr(path.string().size()) : message;
}

TEST(Safetensors, WritesWideTypesFirstAndReadsBack) {
  const Scratch scratch;
  OwnedTensor narrow(DType::bf16, {3});
  OwnedTensor wide(DType::f64, {1, 2});
  OwnedTensor middle(DType::f32, {2, 4});
  for (int i = 0; i < 3; ++i) narrow.tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(i));
  wide.tensor.data<double>()[1] = 1e-300;
  for (int i = 0; i < 8; ++i) middle.tensor.data<float>()[i] = static_cast<float>(i) / 3;
  const auto path = scratch / "b.safetensors";
  // Columns 1 and 2 of `middle`: rows are not side by side.
  const WrittenFile written =
      write_safetensors(path,
                        {source_of("a", narrow.tensor), source_of("z", wide.tensor),
                         source_of("m", middle.tensor.columns(1, 2)),
                         source_of("none", Tensor(nullptr, DType::f32, {0}))},
                        {{"step", "7"}});
  EXPECT_EQ(written.name, "b.safetensors");
  EXPECT_EQ(written.size, std::filesystem::file_size(path));
  EXPECT_EQ(written.hash, hash_file(path));

  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("step"), "7");
  ASSERT_EQ(file.tensors().size(), 4U);
  const StoredTensor* a = file.find("a");
  const StoredTensor* m = file.find("m");
  const StoredTensor* z = file.find("z");
  ASSERT_TRUE(a != nullptr && m != nullptr && z != nullptr);
  EXPECT_LT(z->bytes.data(), m->bytes.data());
  EXPECT_LT(m->bytes.data(), a->bytes.data());
  EXPECT_EQ((z->bytes.data() - file.bytes().data()) % 8, 0);
  EXPECT_EQ(a->str(), "BF16[3]");
  EXPECT_EQ(z->str(), "F64[1, 2]");
  float values[4];
  convert_elements("m", m->bytes.data(), m->type, values, DType::f32, 4);
  EXPECT_EQ(values[0], 1.0F / 3);
  EXPECT_EQ(values[3], 2.0F);
  EXPECT_EQ(file.find("b"), nullptr);
}

TEST(Safetensors, ConvertsBetweenFloatTypes) {
  // 1, -2, the largest half, the smallest half, infinity, NaN.
  const std::uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x7e00};
  double wide[6];
  const auto* bytes = reinterpret_cast<const std::byte*>(halves);
  convert_elements("h", bytes, StoredType::f16, wide, DType::f64, 6);
  EXPECT_EQ(wide[0], 1);
  EXPECT_EQ(wide[1], -2);
  EXPECT_EQ(wide[2], 65504);
  EXPECT_EQ(wide[3], std::ldexp(1.0, -24));
  EXPECT_EQ(wide[4], std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(wide[5]));

  const double source[] = {1.0 / 3, 2};
  bfloat16 narrow[2];
  convert_elements("d", reinterpret_cast<const std::byte*>(source), StoredType::f64, narrow,
                   DType::bf16, 2);
  EXPECT_EQ(narrow[0].bits, bfloat16(1.0F / 3).bits);
  float single[2];
  convert_elements("b", reinterpret_cast<const std::byte*>(narrow), StoredType::bf16, single,
                   DType::f32, 2);
  EXPECT_EQ(single[1], 2);

  EXPECT_EQ(message_of<FormatError>(
                [&] { convert_elements("x", bytes, StoredType::i64, wide, DType::f64, 1); }),
            "x has type I64; a parameter is F16, BF16, F32 or F64");
  EXPECT_EQ(message_of<FormatError>(
                [&] { convert_elements("x", bytes, StoredType::f16, wide, DType::i32, 1); }),
            "x cannot be read as int32: it is F16");
}

TEST(Safetensors, RejectsHeadersThatAreNotWhole) {
  const Scratch scratch;
  const auto path = scratch / "short.safetensors";
  write_text_file_atomically(path, "abc");
  EXPECT_EQ(message_of<FormatError>([&] { SafetensorsFile file(path); }),
            path.string() + " is not a safetensors file: it has 3 bytes, expected at least 8");
  write_text_file_atomically(path, std::string("\x40\0\0\0\0\0\0\0{}", 10));
  EXPECT_EQ(message_of<FormatError>([&] { SafetensorsFile file(path); }),
            path.string() + " is truncated: its header claims 64 bytes, 2 are there");
  write_text_file_atomically(path, std::string(16, '\x7f'));
  EXPECT_EQ(message_of<FormatError>([&] { SafetensorsFile file(path); }),
            path.string() +
                " is not a safetensors file: its header claims 9187201950435737471 bytes, expected "
                "at most 100000000");
  write_text_file_atomically(path, "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
  EXPECT_EQ(message_of<FormatError>([&] { SafetensorsFile file(path); }),
            path.string() +
                " is a pointer of Git LFS, not the file itself; fetch the file: git lfs pull");
  EXPECT_EQ(fault_of("[]", 0), " is not a safetensors file: its header does not start with '{'");
  EXPECT_NE(fault_of("{\"a\": ", 0).find(": the header is not valid JSON: "), std::string::npos);
  EXPECT_NE(fault_of("{\"\xff\": 1}", 0).find("ill-formed UTF-8"), std::string::npos);
}

TEST(Safetensors, RejectsEntriesThatDoNotFit) {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}}";
  };
  EXPECT_EQ(fault_of(entry("F32", "[2]", "[0,8]"), 6),
            ": tensor a ends at byte 8 of the data, but the file has only 6 (truncated?)");
  EXPECT_EQ(fault_of(entry("F32", "[3]", "[0,8]"), 8),
            ": tensor a is F32[3] and needs 12 bytes, but it has 8");
  EXPECT_EQ(fault_of(entry("F32", "[2]", "[8,0]"), 8),
            ": tensor a begins at byte 8 and ends before it, at 0");
  EXPECT_EQ(fault_of(entry("F32", "[-2]", "[0,8]"), 8),
            ": tensor a: an extent of its shape is -2, expected a whole number >= 0");
  EXPECT_EQ(fault_of(entry("F32", "[2]", "[0,8.5]"), 8),
            ": tensor a: its last offset is 8.5, expected a whole number >= 0");
  EXPECT_EQ(fault_of(entry("Q4", "[2]", "[0,8]"), 8), ": tensor a has the unknown dtype Q4");
  EXPECT_EQ(fault_of(entry("F32", "[4294967296,4294967296]", "[0,8]"), 8),
            ": tensor a has a shape whose size overflows: F32[4294967296, 4294967296]");
  EXPECT_EQ(fault_of(entry("F32", "[18446744073709551615]", "[0,8]"), 8),
            ": tensor a has a shape whose size overflows: 18446744073709551615");
  EXPECT_EQ(fault_of("{\"a\":{\"dtype\":\"F32\"}}", 0),
            ": tensor a needs dtype, shape and two data_offsets, found {\"dtype\":\"F32\"}");
  EXPECT_EQ(fault_of("{\"__metadata__\":{\"x\":1}}", 0),
            ": __metadata__ \"x\" is number, expected a string");
  EXPECT_EQ(fault_of("{\"__metadata__\":1}", 0), ": __metadata__ is number, expected an object");
}

TEST(Safetensors, RejectsLayoutsWithHolesAndOverlaps) {
  const auto two = [](const std::string& second_name, int begin, int end) {
    const auto entry = [](int from, int to) {
      return "{\"dtype\":\"U8\",\"shape\":[" + std::to_string(to - from) + "],\"data_offsets\":[" +
             std::to_string(from) + "," + std::to_string(to) + "]}";
    };
    return "{\"a\":" + entry(0, 4) + ",\"" + second_name + "\":" + entry(begin, end) + "}";
  };
  EXPECT_EQ(fault_of(two("b", 3, 6), 6),
            ": tensor b begins at byte 3 and overlaps the one before it, which ends at 4");
  EXPECT_EQ(fault_of(two("b", 5, 6), 6), ": there is a hole of 1 byte before tensor b");
  EXPECT_EQ(fault_of(two("b", 4, 6), 9), ": 3 bytes after the last tensor");
  EXPECT_EQ(fault_of(two("a", 4, 6), 6), ": the header: the key \"a\" is there twice");
  const Scratch scratch;
  EXPECT_EQ(SafetensorsFile(file_of(scratch, two("b", 4, 4), 4)).tensors().size(), 2U);
}

TEST(Safetensors, RejectsSourcesThatBreakTheirWord) {
  const Scratch scratch;
  const auto path = scratch / "c.safetensors";
  TensorSource source{"a", DType::f32, {2}, [](const ByteSink& sink) {
                        const std::byte bytes[4]{};
                        sink(bytes);
                      }};
  EXPECT_EQ(message_of<FormatError>([&] { write_safetensors(path, {source}); }),
            path.string() + ": the source of tensor a gave 4 bytes, it declared 8");
  EXPECT_EQ(message_of<FormatError>([&] {
              write_safetensors(path, {source, source});
            }),
            path.string() + ": tensor a is given twice");
}

TEST(Safetensors, TellsOfAFullDisk) {
  OwnedTensor tensor(DType::f32, {2});
  EXPECT_EQ(
      message_of<IoError>([&] { write_safetensors("/dev/full", {source_of("a", tensor.tensor)}); }),
      "cannot write /dev/full: No space left on device");
}

}  // namespace
}  // namespace gda::test
