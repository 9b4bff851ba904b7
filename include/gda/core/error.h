// The exceptions of gda. An exception ends the operation that threw it; a broken invariant of our
// own code is an assert; an expected outcome is a return value.
//
// Messages name what was expected, what came, where, and how to put it right. Operators begin
// theirs with "[op_name]".
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace gda {

// Base of the family. The program ends with exit_code().
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
  virtual int exit_code() const { return 1; }
};

// Bad usage: a flag, a configuration key, sizes that do not fit together. Exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 2; }
};

// The operating system refused: open, read, write, map, rename, disk full.
class IoError : public Error {
 public:
  using Error::Error;
};

// A file is there but is not what it should be: wrong magic, truncated, checksum, another model.
class FormatError : public Error {
 public:
  using Error::Error;
};

// An operator was called with tensors that it cannot take, or for a backend that is not built in.
class OpError : public Error {
 public:
  using Error::Error;
};

// A device refused: a call of the CUDA runtime or of one of its libraries.
class DeviceError : public Error {
 public:
  using Error::Error;
};

// Communication between processes failed or timed out.
class DistError : public Error {
 public:
  using Error::Error;
};

// Throws E with a formatted message.
template <class E, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw E(fmt::format(format, std::forward<Args>(args)...));
}

// Throws E with a formatted message unless the condition holds.
template <class E, class... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]] {
    throw E(fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace gda
