// The bytes of a file or a pipe, unpacked where they are gzip.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace gda {

// "-" is standard input. gzip is told by its first bytes, not by a name; what follows the end of
// gzip has to be gzip again, or zeros, which some tools pad with. Errors name the file.
class InputFile {
 public:
  static constexpr std::size_t kReadBytes = std::size_t{1} << 18;

  // A wait for a pipe ends with an Error when `give_up` becomes true. Null: never.
  explicit InputFile(const std::filesystem::path& path, const std::atomic<bool>* give_up = nullptr);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // Appends up to kReadBytes; false at the end. IoError, or FormatError for damaged gzip.
  bool read(std::string& text);
  // Reads what it takes to tell what a file is; whether that is all of it.
  bool read_beginning(std::string& text);
  bool is_gzip() const { return inflating_ != nullptr; }
  // Bytes taken from the file as it is stored.
  std::int64_t offset() const { return offset_; }
  const std::string& name() const { return name_; }

 private:
  struct Inflating;
  bool fill(std::size_t wanted);
  void wait_for_bytes() const;
  void take(std::size_t count);
  std::size_t inflate_into(char* to, std::size_t space);
  bool begin_next_member();

  std::string name_;
  const std::atomic<bool>* give_up_;
  int fd_ = -1;
  std::string stored_;  // read, but not yet taken, from at_
  std::size_t at_ = 0;
  std::int64_t offset_ = 0;
  bool at_end_ = false;
  std::unique_ptr<Inflating> inflating_;
};

// What messages call a path of input: "-" is standard input.
std::string input_name(const std::filesystem::path& path);

}  // namespace gda
