// Files that the data tests make.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/data/token_dataset.h"
#include "gda/data/token_writer.h"
#include "support/temporary_folder.h"

namespace gda::test {

// A new, empty folder.
inline std::filesystem::path scratch_folder() {
  static int count = 0;
  const auto folder = process_folder() / std::to_string(count++);
  make_directories(folder);
  return folder;
}

// The message of the exception that `act` throws.
template <class E>
std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no exception";
  return "";
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << text

// Writes documents of the given lengths whose tokens count up from 0, modulo the vocabulary.
inline std::string write_counting(const std::filesystem::path& folder, const std::string& name,
                                  const std::vector<std::int64_t>& lengths,
                                  std::int64_t vocab_size) {
  const std::string prefix = (folder / name).string();
  TokenDatasetWriter writer(prefix, vocab_size);
  std::int64_t next = 0;
  for (const std::int64_t length : lengths) {
    std::vector<std::int32_t> tokens;
    for (std::int64_t i = 0; i < length; ++i) {
      tokens.push_back(static_cast<std::int32_t>(next++ % vocab_size));
    }
    writer.append(tokens);
    writer.end_document();
  }
  writer.finish();
  return prefix;
}

template <class T>
std::string bytes_of(std::initializer_list<T> values) {
  std::string bytes;
  for (const T value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
  return bytes;
}

inline void patch(const std::filesystem::path& path, std::size_t offset, std::string_view bytes) {
  std::string content = read_text_file(path);
  content.replace(offset, bytes.size(), bytes);
  write_text_file_atomically(path, content);
}

inline std::vector<std::int32_t> read_all(const TokenDataset& dataset) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(dataset.size()));
  dataset.read(0, tokens);
  return tokens;
}

}  // namespace gda::test
