// The wire format of protocol buffers, as much of it as TensorBoard's events need.
//
// Not libprotobuf: distributions build libsentencepiece with a copy of it whose symbols it exports,
// so a process that loads both libraries crashes when it starts.
// https://protobuf.dev/programming-guides/encoding
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace gda {

class ProtobufMessage {
 public:
  // Fields in the order of the calls; numbers are the format's.
  void add_integer(int field, std::int64_t value) {
    add_key(field, kVarint);
    add_varint(static_cast<std::uint64_t>(value));
  }
  void add_double(int field, double value) {
    add_key(field, kFixed64);
    add_fixed(std::bit_cast<std::uint64_t>(value));
  }
  void add_float(int field, float value) {
    add_key(field, kFixed32);
    add_fixed(std::bit_cast<std::uint32_t>(value));
  }
  // Text, or a nested message.
  void add_bytes(int field, std::string_view bytes) {
    add_key(field, kLengthDelimited);
    add_varint(bytes.size());
    bytes_ += bytes;
  }

  const std::string& bytes() const { return bytes_; }

 private:
  static constexpr int kVarint = 0;
  static constexpr int kFixed64 = 1;
  static constexpr int kLengthDelimited = 2;
  static constexpr int kFixed32 = 5;

  void add_key(int field, int type) { add_varint(static_cast<std::uint64_t>(field << 3 | type)); }
  void add_varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  template <class Word>
  void add_fixed(Word word) {
    for (std::size_t i = 0; i < sizeof(Word); ++i) bytes_ += static_cast<char>(word >> (8 * i));
  }

  std::string bytes_;
};

}  // namespace gda
